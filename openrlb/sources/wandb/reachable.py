"""Whether the W&B service can be reached at all, asked before wandb's own client is: that one is patient for 20 seconds."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

SECONDS = 4.0
"""How long a service may take to accept a connection."""


def unreachable(url: str) -> str | None:
    """Why nothing answers at an address, or None where something does, or where only a proxy could tell.

    Args:
        url: The service's address.

    >>> unreachable("http://127.0.0.1:9")
    'no connection to 127.0.0.1: Connection refused'
    """
    parts = urlsplit(url)
    host = parts.hostname
    if not host or (parts.scheme in getproxies() and not proxy_bypass(host)):
        return None
    try:
        port = parts.port or {"http": 80}.get(parts.scheme, 443)
    except ValueError:
        return None
    found: list[str | None] = []
    asking = threading.Thread(target=lambda: found.append(_refusal(host, port)), daemon=True)  # a name may take long to look up
    asking.start()
    asking.join(SECONDS)
    return found[0] if found else f"no answer from {host} within {SECONDS:g} seconds"


def _refusal(host: str, port: int) -> str | None:
    """Why a connection does not come about, or None."""
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError as error:
        return f"no connection to {host}: {error.strerror or error}"
    return None
