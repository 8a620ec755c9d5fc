"""Find a model's files: a local folder, the hub's cache, or the hub itself."""

from __future__ import annotations

from pathlib import Path

_SECONDS_TO_CONNECT = 3.0
MODEL_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
"""Settings, vocabularies, chat templates and weights; pickled weights are never fetched."""


class UnavailableError(Exception):
    """A model cannot be had here, and the message says which and why."""


def local_copy(name: str) -> Path:
    """Return a folder with the files of the model `name`, which is a folder or a hub name.

    Once in the hub's cache, a model is used as it is: no network, no newer revision. Raises `UnavailableError`
    within seconds where the hub cannot be reached (the loaders of transformers retry for half a minute).
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or name.startswith((".", "/", "~")):
        raise UnavailableError(f"there is no folder {name}")
    return _cached(name) or _fetched(name)


def _cached(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=MODEL_FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise UnavailableError(f"{name!r} is neither a folder nor a possible hub name") from error
    # a cache filled by other programs may hold the settings alone
    return folder if any(folder.glob("*.safetensors")) else None


def _fetched(name: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=_SECONDS_TO_CONNECT)
        return Path(snapshot_download(name, allow_patterns=MODEL_FILES))
    except RepositoryNotFoundError as error:
        raise UnavailableError(f"the hub has no model {name} that is open to you") from error
    except Exception as error:  # the hub client's HTTP library, and so its errors, differ by version
        raise UnavailableError(
            f"{name} is neither a folder nor in the hub's cache, and the hub cannot be reached ({type(error).__name__})"
        ) from error
