"""Stores on a web server: read as they lie, and no more of them than is needed (docs/adr/0014-a-store-over-http.md)."""

from openrlb.sources.web_store.store import WebStore

__all__ = ["WebStore"]
