"""Bundles on the Hugging Face hub, through its own client, which knows tokens, mirrors (``HF_ENDPOINT``) and its cache."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openrlb import paths
from openrlb.errors import NetworkError, OpenrlbError, SourceError, UsageError
from openrlb.sources.bundle.manifest import FIX, MAX_MANIFEST_BYTES, NAME, Listed
from openrlb.sources.bundle.read import check
from openrlb.sources.bundle.web import make_room

HUB = "hf://"
INSTALL = "install it: pip install 'openrlb[hub]'"
_ADDRESS = re.compile(r"hf://datasets/(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^/\s]+))?(?:/(?P<folder>\S*))?")
_PAGE = re.compile(r"https://huggingface\.co/datasets/(?P<name>[\w.-]+/[\w.-]+)(?:/tree/(?P<revision>[^/\s]+))?/?")


def hub_address(source: str) -> str:
    """The address of a data set where its page on the hub was copied from a browser; any other as it is.

    >>> hub_address("https://huggingface.co/datasets/lab/runs/tree/v2"), hub_address("https://example.org/a")
    ('hf://datasets/lab/runs@v2', 'https://example.org/a')
    """
    page = _PAGE.fullmatch(source)
    if page is None:
        return source
    return f"{HUB}datasets/{page['name']}" + (f"@{page['revision']}" if page["revision"] else "")


class HubPlace:
    """A bundle in a data set of the hub.

    Args:
        source: ``hf://datasets/OWNER/NAME[@REVISION][/FOLDER]``.
        on_file: Called with each file's path before it is asked for.

    Raises:
        UsageError: Another address, or the hub's client is not installed.
    """

    def __init__(self, source: str, on_file: Callable[[Path], None]) -> None:
        found = _ADDRESS.fullmatch(source)
        if found is None:
            raise UsageError(f"{source} names no data set", "a bundle on the hub is a data set", "write hf://datasets/OWNER/NAME")
        try:
            import huggingface_hub
        except ImportError as error:
            raise UsageError(
                f"{source} cannot be read", "the client of the Hugging Face hub is not installed", INSTALL
            ) from error
        self.name = source
        self._client: Any = huggingface_hub
        self._of = {"repo_id": found["name"], "repo_type": "dataset", "revision": found["revision"] or "main"}
        self._inside = f"{found['folder'].strip('/')}/" if (found["folder"] or "").strip("/") else ""
        self._on_file = on_file
        self._folder = paths.cache_dir() / "bundles-hub"
        self._taken: dict[str, Path] = {}

    def manifest(self) -> bytes:
        """The bytes of ``bundle.json``; its commit is the one that every other file is taken from.

        Raises:
            SourceError: There is none, or it is too large.
            NetworkError: The hub does not answer, or refuses.
        """
        make_room(self._folder, self.name, 0)

        def ask() -> Any:  # noqa: ANN401 - the client's record
            address = self._client.hf_hub_url(filename=self._inside + NAME, **self._of)
            return self._client.get_hf_file_metadata(address)

        told = self._asked(NAME, ask)
        if (told.size or 0) > MAX_MANIFEST_BYTES:
            raise SourceError(f"{self.name} is not read", f"{NAME} is larger than {MAX_MANIFEST_BYTES // 1024**2} MiB", FIX)
        self._of["revision"] = told.commit_hash or self._of["revision"]
        return self._path(NAME).read_bytes()

    def data(self, path: str, listed: Listed) -> bytes:
        """The bytes of a file, checked.

        Raises:
            SourceError: It is missing, or not what the manifest says.
            NetworkError: The hub does not answer, or refuses.
            StoreUnwritable: The disk has no room for it.
        """
        make_room(self._folder, self.name, listed.bytes)
        data = self._path(path).read_bytes()
        check(path, listed, len(data), hashlib.sha256(data).hexdigest())
        return data

    def clear(self) -> None:
        """Removes from the cache what was read."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, path: str) -> Path:
        """Where the client put a file."""

        def take() -> str:
            return str(self._client.hf_hub_download(filename=self._inside + path, cache_dir=self._folder, **self._of))

        if path not in self._taken:
            self._on_file(Path(path))
            self._taken[path] = Path(self._asked(path, take))
        return self._taken[path]

    def _asked(self, path: str, action: Callable[[], Any]) -> Any:  # noqa: ANN401 - the client's answers
        """Asks the hub; what its client raises becomes an error of ours."""
        from huggingface_hub import errors, utils

        try:
            utils.disable_progress_bars()  # type: ignore[attr-defined] # it names what it exports in another way
            return action()
        except errors.GatedRepoError as error:
            raise NetworkError(
                f"{self.name} is not given to everybody", "its owner asks for consent", "give it on its page, then: hf auth login"
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            why = "the hub has no such data set or revision, or gives it to some users only"
            raise NetworkError(
                f"{self.name} cannot be read", why, "check its name; for one of your own: hf auth login"
            ) from error
        except errors.EntryNotFoundError as error:
            what = "there is no bundle there" if path == NAME else "the bundle lacks a file"
            raise SourceError(what, f"{self.name} has no {self._inside}{path}", FIX) from error
        except OpenrlbError:
            raise
        except Exception as error:  # the client passes on whatever its HTTP library raises
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise NetworkError(f"{self.name} cannot be reached", why, "try again later") from error
