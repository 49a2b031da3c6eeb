"""The genuine wandb client: credentials, a connection that is quiet and bounded, errors with a meaning.

wandb sends all its traffic through a process of its own (wandb-core), which repeats a request that met 429 or 5xx and
waits as ``Retry-After`` says. Here its patience is bounded, and what it gives up on is tried again only where that helps.
"""

from __future__ import annotations

import importlib
import netrc
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from openrlb.errors import NetworkError, SourceError
from openrlb.sources.wandb.reachable import unreachable
from openrlb.store.arrow import few_heaps
from openrlb.types import Skipped

Answer = TypeVar("Answer")

CORE_SETTINGS: dict[str, Any] = {
    "x_graphql_retry_max": 4,
    "x_graphql_retry_wait_min_seconds": 1,
    "x_graphql_retry_wait_max_seconds": 30,
    "x_file_transfer_retry_max": 4,
    "x_file_transfer_retry_wait_min_seconds": 1,
    "x_file_transfer_retry_wait_max_seconds": 30,
    "silent": True,
}
"""wandb-core repeats 20 times by default, so that one run whose data the service cannot give would hold up a fetch."""

ATTEMPTS = 2
"""How often a step is begun anew after wandb-core gave up, or after a file arrived torn."""
WAIT_SECONDS = 2.0
COLLECTOR, COLLECTED_AT = "GOGC", "50"
"""wandb-core is written in Go, whose collector lets the memory double by default; so it grows by half, 10 of 50 MB less."""
ANOTHER_SHAPE = (AttributeError, KeyError, TypeError)
"""What comes of an answer of another shape than the client knows."""
RUNS_PER_PAGE = 100
FILES_KEPT, BYTES_KEPT = 100, 100_000
"""Files that are kept for other runs that have the same one, and how large such a one may be."""
_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")
_NO_ANSWER, _LOOK = "Weights & Biases could not be reached", "look at the network and WANDB_BASE_URL, then try again"
_FIX = "set WANDB_API_KEY (the key is at wandb.ai/authorize), or fetch a folder of logs instead"


class UnreachableError(NetworkError):
    """No connection, no key or a refused one: no project of the service can be had."""


class TransientError(Exception):
    """A failure that may pass: no connection, 5xx, a torn file."""


class RefusedError(Exception):
    """A failure that repeating cannot mend: 4xx, a run that is gone."""


def key_available() -> bool:
    """Whether a key for the configured W&B service is there. Neither imports wandb nor asks anybody.

    The places are those that wandb looks at: ``WANDB_API_KEY``, ``WANDB_IDENTITY_TOKEN_FILE``, and the netrc file.
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        entries = netrc.netrc(_netrc_file())
    except (OSError, netrc.NetrcParseError, RuntimeError):
        return False
    return any((entries.authenticators(host) or ("", "", ""))[2] for host in _hosts())


def _netrc_file() -> str:
    """The netrc file that wandb reads."""
    chosen = os.environ.get("NETRC")
    names = [Path(chosen).expanduser()] if chosen else [Path.home() / ".netrc", Path.home() / "_netrc"]
    return str(next((path for path in names if path.exists()), names[0]))


def _hosts() -> tuple[str, ...]:
    """The names under which a key for the configured service may be kept."""
    configured = os.environ.get("WANDB_BASE_URL") or _configured_url()
    return (urlsplit(configured).netloc,) if configured else _HOSTS


def is_service(address: str) -> bool:
    """Whether a web address is one of W&B: of the public service, or of the configured one.

    >>> is_service("https://wandb.ai/lab/weird"), is_service("https://example.org/lab/weird")
    (True, False)
    """
    place = urlsplit(address).netloc
    return place in ("wandb.ai", *_hosts()) or place.endswith((".wandb.ai", ".wandb.io"))


def _configured_url() -> str | None:
    """The service's address in wandb's own settings file, if any."""
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb").expanduser()
    try:
        text = (folder / "settings").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.search(r"^\s*base_url\s*[=:]\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else None


def require_key() -> None:
    """Makes sure of a key before wandb is imported, which would ask for one at a terminal.

    Raises:
        UnreachableError: There is none.
    """
    if not key_available():
        why = f"neither WANDB_API_KEY nor {_netrc_file()} has one for {' or '.join(_hosts())}"
        raise UnreachableError("Weights & Biases gives runs only to a user with an API key", why, _FIX)


class Client:
    """A connection to W&B.

    Raises:
        UnreachableError: No key, a refused one, or no answer.
    """

    def __init__(self) -> None:
        require_key()
        _start()
        import wandb

        self.asks_together = True
        """False once the service refused a question that names several runs."""
        self._files: dict[str, bytes] = {}
        self._numbers = count()
        self.folder = Path(tempfile.mkdtemp(prefix="openrlb-wandb-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)  # a plan need not be read
        settings = wandb.setup().settings
        refusal = None if settings.http_proxy or settings.https_proxy else unreachable(settings.base_url)
        if refusal:
            raise UnreachableError(_NO_ANSWER, refusal, _LOOK)
        before = {name: getattr(settings, name) for name in CORE_SETTINGS}
        try:
            for name, value in CORE_SETTINGS.items():
                setattr(settings, name, value)
            self.api = wandb.Api()  # copies the settings; a notebook's own runs keep what they had
        except (wandb.errors.Error, ValueError) as error:
            raise _no_connection(error) from error
        finally:
            for name, value in before.items():
                setattr(settings, name, value)

    def list_runs(self, entity: str, project: str, filters: Mapping[str, Any], lost: list[Skipped]) -> Iterator[Any]:
        """Every run of a project that fits W&B's filters, oldest first, with its whole configuration.

        Args:
            entity: The W&B user or team.
            project: The project.
            filters: A condition in W&B's own filter language.
            lost: Filled in with runs that the client cannot make out, and with a count where runs are missing.

        Raises:
            NetworkError: W&B cannot be reached.
            SourceError: It refuses, or there is no such project.
        """
        path = f"{entity}/{project}"
        with self.quiet():
            runs = self.api.runs(path, filters=dict(filters), per_page=RUNS_PER_PAGE, lazy=False)
            position = 0
            try:
                for position in count():
                    yield self.step(partial(_listed, runs, position, lost))  # next() would skip a run when it is repeated
            except IndexError:
                given = position + sum(item.location.count("/") == 2 for item in lost)
                if len(runs) > given:
                    told = f"W&B counts {len(runs):,} runs that fit and listed {given:,}"
                    lost.append(Skipped(f"wandb:{path}", told, damaged=True))
                return
            except TransientError as error:
                raise NetworkError(f"{path} could not be listed", str(error), "try again later") from error
            except RefusedError as error:
                fix = "check ENTITY/PROJECT, and that your key may read it"
                raise SourceError(f"{path} could not be listed", str(error), fix) from error

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Keeps wandb's progress texts off the terminal, and the folders it makes for every run in one of ours."""
        import wandb

        settings = wandb.setup().settings
        silent, folder = settings.silent, os.environ.get("WANDB_DIR")
        settings.silent = True
        os.environ["WANDB_DIR"] = str(self.folder)
        wandb.termsetup(settings, None)
        try:
            yield
        finally:
            settings.silent = silent
            wandb.termsetup(settings, None)
            if folder is None:
                os.environ.pop("WANDB_DIR", None)
            else:
                os.environ["WANDB_DIR"] = folder

    def step(self, action: Callable[[], Answer]) -> Answer:
        """Runs one action of the client, once more where the failure may pass.

        Raises:
            TransientError: It still fails.
            RefusedError: Repeating cannot help.
        """
        for _ in range(1, ATTEMPTS):
            try:
                return translated(action)
            except TransientError:
                time.sleep(WAIT_SECONDS)
        return translated(action)

    def same_file(self, checksum: str) -> bytes | None:
        """The bytes of a file that was fetched already, by its checksum."""
        return self._files.get(checksum) if checksum else None

    def keep_file(self, checksum: str, data: bytes) -> None:
        """Keeps a file's bytes for runs that have the same one, as long as there are not too many."""
        if len(self._files) < FILES_KEPT and len(data) <= BYTES_KEPT:
            self._files[checksum] = data

    def new_folder(self) -> Path:
        """A new folder for one download; it is removed with the client at the latest."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    def close(self) -> None:
        """Removes the temporary folder."""
        self._remove()


def _start() -> None:
    """Starts wandb's process; while it gets ready (0.2 s), what a fetch needs anyway is imported."""
    import wandb

    few_heaps()
    given = os.environ.get(COLLECTOR)
    os.environ.setdefault(COLLECTOR, COLLECTED_AT)
    try:
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(wandb.setup)
            for name in ("pyarrow.json", "pyarrow.parquet", "wandb.apis.public"):
                importlib.import_module(name)
        starting.result()
    finally:
        if given is None:
            del os.environ[COLLECTOR]


def _listed(runs: Any, position: int, lost: list[Skipped]) -> Any:  # noqa: ANN401 -- wandb is not typed
    """One run of a listing.

    One that the client cannot make out costs it the whole page, and a repetition would begin at the next one: the others of
    the page are then taken one by one.

    Raises:
        IndexError: There are no more.
    """
    before = runs.last_response
    try:
        return runs[position]
    except IndexError:
        raise
    except Exception as error:  # whatever the client raises of a page that arrived
        page = runs.last_response
        if page is before or not (page or {}).get("project"):
            raise
        for edge in page["project"]["runs"]["edges"]:
            runs.last_response = {"project": {"runs": {"edges": [edge]}}}
            try:
                runs.objects.extend(runs.convert_objects())
            except Exception as reason:
                place = f"wandb:{runs.entity}/{runs.project}/{edge['node']['name']}"
                lost.append(not_understood(place, str(reason) or str(error)))
        runs.last_response = page
        return runs[position]


def not_understood(location: str, why: str) -> Skipped:
    """A run that is left out because W&B tells of it in another way than its client knows.

    >>> not_understood("wandb:lab/runs/a", "no tags").reason
    "W&B's record of it could not be understood: no tags"
    """
    return Skipped(location, f"W&B's record of it could not be understood: {' '.join(why.split())[:200]}", damaged=True)


def translated(action: Callable[[], Answer]) -> Answer:
    """Runs an action; what wandb raises becomes one of our two failures.

    Raises:
        TransientError: It may pass.
        RefusedError: Repeating cannot help.
    """
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    try:
        return action()
    except (wandb.errors.Error, WandbApiFailedError) as error:
        text = reason(error)
        raise (RefusedError if is_permanent(text) else TransientError)(text) from error
    except ValueError as error:  # what the client raises for a project or run that is not there
        raise RefusedError(str(error)) from error
    except ANOTHER_SHAPE as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise TransientError(f"W&B's answer could not be understood ({told})") from error


def reason(error: BaseException) -> str:
    """What wandb says of a failure, in one line, without addresses.

    >>> reason(Exception("POST http://h/graphql giving up after 3 attempt(s) while retrying: HTTP 502: bad gateway"))
    'giving up after 3 attempt(s) while retrying: HTTP 502: bad gateway'
    """
    chain = [error, *([error.__cause__] if error.__cause__ is not None else [])]
    chosen = next((str(item) for item in chain if _status(str(item))), str(error))
    status = next((getattr(getattr(item, "response", None), "http_status", 0) for item in reversed(chain)), 0)
    told = f"HTTP {status}: " if status and not _status(chosen) else ""
    return told + re.sub(r"\b(?:GET|POST|PUT) https?://\S+ ", "", " ".join(chosen.split()))[:300]


def _status(text: str) -> int | None:
    """The HTTP status that wandb's text names."""
    found = re.search(r"(?:returned error|HTTP(?: status)?|status:) (\d{3})\b", text)
    return int(found[1]) if found else None


def is_permanent(text: str) -> bool:
    """Whether a failure is one that repeating cannot mend.

    >>> is_permanent("returned error 403: {}"), is_permanent("HTTP 502: x"), is_permanent("HTTP 429: slow"), is_permanent("eh")
    (True, False, False, False)
    """
    status = _status(text)
    return status is not None and 400 <= status < 500 and status not in (408, 429)


def _no_connection(error: Exception) -> UnreachableError:
    """The error for a connection that did not come about; without a cause, wandb itself found the key malformed."""
    text = reason(error)
    if _status(text) in (401, 403) or error.__cause__ is None:
        return UnreachableError("Weights & Biases refused the API key", text, _FIX)
    return UnreachableError(_NO_ANSWER, text, _LOOK)
