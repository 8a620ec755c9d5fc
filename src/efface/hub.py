"""Find a model's files: a local folder, the hub's cache, or the hub itself."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import TYPE_CHECKING

from efface.files.safe_read import expand_home, read_json

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

SECONDS_TO_CONNECT = 3.0
MODEL_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
"""Configurations, vocabularies, chat templates and weights; pickled weights are never downloaded."""
WEIGHTS = "model.safetensors"
SHARDS_INDEX = "model.safetensors.index.json"
LOG_IN = "set HF_TOKEN or run `hf auth login`"

_DUPLICATE_WEIGHTS = ["consolidated*.safetensors"]  # Mistral's own format, which transformers does not read
_VOCABULARIES = ["tokenizer*", "vocab.*", "*.model", "tekken.json"]
_TOKEN_SETTINGS = ["merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template*", "*.jinja"]
TOKENIZER_FILES = [*_VOCABULARIES, *_TOKEN_SETTINGS, "config.json"]
"""What a tokenizer is loaded from; config.json names its class where tokenizer_config.json does not."""
_REVISION = re.compile(r"\w[\w./+-]*", re.ASCII)
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class UnavailableError(Exception):
    """A model is not available; the message says which, why and, in brackets, what to do about it."""


def resolve_model(name: str) -> Path:
    """Find or download the files of a model.

    A private or gated model needs the token that huggingface_hub finds, from HF_TOKEN or `hf auth login`. A revision
    that is complete in the hub's cache is used without the network, even if its branch has newer commits.

    Args:
        name: A folder, or `owner/name` on the hub, or `owner/name@revision` with a branch, a tag or a commit. A folder
            has precedence.

    Returns:
        The folder with the files.

    Raises:
        UnavailableError: There is no such model, or, within seconds, the hub cannot be reached (the loaders of
            transformers retry for half a minute).
    """
    return resolve_local_model(name) or _download(*_repo_and_revision(name))


def resolve_local_model(name: str) -> Path | None:
    """Find the files of a model without the network.

    Args:
        name: As in `resolve_model`.

    Returns:
        The folder with the files; None if `resolve_model` would download them.

    Raises:
        UnavailableError: The name is a path that does not exist, or not a valid name on the hub.
    """
    return _local_folder(name) or _find_cached(*_repo_and_revision(name))


def resolve_tokenizer(name: str) -> Path:
    """Find or download the tokenizer of a model, without its weights.

    Args:
        name: As in `resolve_model`.

    Returns:
        A folder with the tokenizer's files, and perhaps others.

    Raises:
        UnavailableError: As in `resolve_model`.
    """
    return resolve_local_tokenizer(name) or _download(*_repo_and_revision(name), patterns=TOKENIZER_FILES)


def resolve_local_tokenizer(name: str) -> Path | None:
    """Find a tokenizer without the network; None if `resolve_tokenizer` would download it.

    Raises:
        UnavailableError: As in `resolve_local_model`.
    """
    if (folder := _local_folder(name)) is not None:
        return folder
    cached = _cached_snapshot(*_repo_and_revision(name), patterns=TOKENIZER_FILES)
    return cached if cached is not None and has_tokenizer(cached) else None


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder contains the vocabulary of a tokenizer."""
    return any(path.is_file() for pattern in _VOCABULARIES for path in folder.glob(pattern))


def fetch_model_config(name: str, folder: Path) -> int:
    """Download the config.json of a model on the hub.

    Args:
        name: `owner/name` or `owner/name@revision`.
        folder: Where config.json is written.

    Returns:
        The bytes that `resolve_model` would download.

    Raises:
        UnavailableError: The hub has no such model, does not give access to it, or, within seconds, cannot be reached.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]  # as `validate_repo_id`

    repo, revision = _repo_and_revision(name)
    try:
        model = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=SECONDS_TO_CONNECT)
        hf_hub_download(repo, "config.json", revision=revision, local_dir=folder, etag_timeout=SECONDS_TO_CONNECT)
    except Exception as error:  # the hub client's HTTP library, and so its errors, differ by version
        raise UnavailableError(_download_error(error, repo, revision)) from error
    sizes = {file.rfilename: file.size or 0 for file in model.siblings or []}
    wanted = filter_repo_objects(sizes, allow_patterns=MODEL_FILES, ignore_patterns=_DUPLICATE_WEIGHTS)
    return sum(sizes[file] for file in wanted)


def is_hub_name(name: str) -> bool:
    """Whether `resolve_model` would look for `name` on the hub: it is not a path, and a valid name there."""
    if _is_path(name):
        return False
    try:
        _repo_and_revision(name)
    except UnavailableError:
        return False
    return True


def why_unreachable() -> str | None:
    """Check the connection to the hub.

    Returns:
        None if the hub answers within seconds, otherwise why not; HF_HUB_OFFLINE counts as no answer.
    """
    from huggingface_hub import constants, get_session

    try:
        response = get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_CONNECT)
    except Exception as error:  # the hub client's HTTP library, and so its errors, differ by version
        return explain_no_answer(error)
    if response.status_code >= 500:  # a mirror may have no front page
        return f"the hub cannot be reached ({constants.ENDPOINT} answers with HTTP {response.status_code})"
    return None


def missing_shards(folder: Path) -> list[str]:
    """The weight files of a sharded model that are missing.

    Args:
        folder: Of the model.

    Returns:
        Names in the model's index without a file, or the index itself if it cannot be read; empty for a model in one
        file.
    """
    index = folder / SHARDS_INDEX
    if (folder / WEIGHTS).is_file() or not index.is_file():
        return []
    try:
        names = set(read_json(index)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return [SHARDS_INDEX]
    return sorted(name for name in names if not (folder / name).is_file())


def explain_no_answer(error: Exception) -> str:
    """The sentence for a request that the hub did not answer, with the reason."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE keeps efface from the hub"
    if isinstance(error, HfHubHTTPError):
        return f"the hub cannot be reached (HTTP {error.response.status_code})"
    return f"the hub cannot be reached ({type(error).__name__})"


def _local_folder(name: str) -> Path | None:
    folder = expand_home(name)
    if folder.is_dir():
        return folder
    if _is_path(name):
        raise UnavailableError(f"{name} is a file" if folder.is_file() else f"there is no folder {name}")
    return None


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or Path(name).exists()


def _repo_and_revision(name: str) -> tuple[str, str | None]:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, yet not in __all__

    repo, at, revision = name.partition("@")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UnavailableError(f"{name!r} is neither a folder nor a possible hub name") from error
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise UnavailableError(f"{name!r} has no valid branch, tag or commit after the @")
    return repo, revision or None


def _find_cached(repo: str, revision: str | None) -> Path | None:
    folder = _cached_snapshot(repo, revision, patterns=MODEL_FILES)
    return folder if folder is not None and _is_complete(folder) else None


def _cached_snapshot(repo: str, revision: str | None, *, patterns: list[str]) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=patterns,
                ignore_patterns=_DUPLICATE_WEIGHTS,
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None


def _is_complete(folder: Path) -> bool:
    """Whether a folder of the cache has all files; other programs download single files into it."""
    has_weights = any((folder / name).is_file() for name in (WEIGHTS, SHARDS_INDEX)) and not missing_shards(folder)
    return has_weights and has_tokenizer(folder) and (folder / "config.json").is_file()


def _download(repo: str, revision: str | None, *, patterns: list[str] = MODEL_FILES) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    try:
        HfApi().model_info(repo, revision=revision, timeout=SECONDS_TO_CONNECT)
        return Path(
            snapshot_download(repo, revision=revision, allow_patterns=patterns, ignore_patterns=_DUPLICATE_WEIGHTS)
        )
    except Exception as error:  # the hub client's HTTP library, and so its errors, differ by version
        raise UnavailableError(_download_error(error, repo, revision)) from error


def _download_error(error: Exception, repo: str, revision: str | None) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
        return _refusal(error, repo, revision)
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return (
            f"{repo} cannot be written to {constants.HF_HUB_CACHE}: {error.strerror} (free some space or set HF_HOME)"
        )
    return f"{repo} is neither a folder nor complete in the hub's cache, and {explain_no_answer(error)}"


def _refusal(error: HfHubHTTPError, repo: str, revision: str | None) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"{constants.ENDPOINT}/{repo}"
    has_token = "authorization" in error.response.request.headers
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        then = " with the account of your token" if has_token else f", then {LOG_IN}"
        return f"{repo} is gated (request access on {page}{then})"
    if has_token and status == 401:
        return invalid_token()
    if isinstance(error, RepositoryNotFoundError):
        if has_token:
            return f"the hub has no model {repo} that your token may read (check the name and `hf auth whoami`)"
        return f"the hub has no public model {repo} (check the name; if it is private, {LOG_IN})"
    if isinstance(error, RevisionNotFoundError):
        return f"the hub's {repo} has no revision {revision} (its branches and tags are on {page}/tree/main)"
    return f"the hub does not give access to {repo} (HTTP {status}: {error.server_message or 'no reason given'})"


def invalid_token() -> str:
    """The sentence for a token that the hub does not accept, with the page where one can be created."""
    from huggingface_hub import constants

    return f"the hub does not accept your token (create one on {constants.ENDPOINT}/settings/tokens, then {LOG_IN})"
