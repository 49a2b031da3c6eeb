"""Where openrlb keeps things. Functions, never module constants, so that a test or a user can move everything."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "OPENRLB_HOME"


def home() -> Path:
    """The folder that holds everything openrlb keeps: ``OPENRLB_HOME``, else the platform's data folder."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_data_dir("openrlb", appauthor=False))


def store_dir() -> Path:
    """The folder of the run store."""
    return home() / "store"


def cache_dir() -> Path:
    """The folder for what can be made again: runner environments, downloads."""
    if os.environ.get(HOME_VARIABLE):
        return home() / "cache"
    return Path(platformdirs.user_cache_dir("openrlb", appauthor=False))


def user_config_file() -> Path:
    """The user's own settings, below ``./openrlb.toml`` in rank."""
    if os.environ.get(HOME_VARIABLE):
        return home() / "config.toml"
    return Path(platformdirs.user_config_dir("openrlb", appauthor=False)) / "config.toml"


def project_config_file(start: Path | None = None) -> Path | None:
    """The nearest ``openrlb.toml`` in the working folder or one above it, or None."""
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        candidate = folder / "openrlb.toml"
        if candidate.is_file():
            return candidate
    return None


def asset(*parts: str) -> Path:
    """A file that ships with openrlb: from the wheel, or from the checkout's top-level folders.

    Args:
        *parts: For instance ``("analysis", "recipes", "hopper-iqm.toml")``.

    Raises:
        FileNotFoundError: No such file ships with this version.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_assets", package.parent):
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    raise FileNotFoundError("/".join(parts))
