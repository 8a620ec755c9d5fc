"""`efface push`: upload the model of a finished run to the Hugging Face hub in one commit. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from efface import __version__
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.files.safe_read import read_json
from efface.hub import (
    LOG_IN,
    SECONDS_TO_CONNECT,
    SHARDS_INDEX,
    WEIGHTS,
    explain_no_answer,
    invalid_token,
    is_hub_name,
    missing_shards,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

_CARD = "README.md"
_TOKENIZER = [
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "additional_chat_templates/*.jinja",
]
_MODEL = ["config.json", "generation_config.json", "model*.safetensors", SHARDS_INDEX, *_TOKENIZER, _CARD]
_ADAPTER = ["adapter_config.json", "adapter_model.safetensors", *_TOKENIZER, _CARD]
"""Files are selected by name: a folder may contain anything else, such as the forget set."""


def push(folder: Path, repo: str, *, private: bool = True, adapter: bool = False, revision: str | None = None) -> str:
    """Upload a model to the hub in one commit.

    Weights (safetensors), settings, tokenizer and card are uploaded, and nothing else; weights of an earlier push that
    transformers would load instead are removed.

    Args:
        folder: A finished run, or a model folder.
        repo: The repository, `owner/name`; created if it does not exist.
        private: Create a private repository, and refuse an existing public one.
        adapter: Upload the run's LoRA adapter instead of its merged model.
        revision: The branch, created if it does not exist; None for the main branch.

    Returns:
        The URL of the model's page.

    Raises:
        EffaceError: The folder is missing, unfinished or incomplete, the hub does not accept the name or the token, or
            it cannot be reached.
    """
    source = _source(folder, adapter=adapter)
    files = files_to_push(folder, adapter=adapter)
    check_name(repo)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=_token(), library_name="efface", library_version=__version__)
    try:
        _ensure_repository(api, repo, private=private, branch=revision)
        _commit(api, repo, source, files, branch=revision, is_model=not adapter)
    except EffaceError:
        raise
    except HfHubHTTPError as error:
        raise EffaceError(f"cannot push to {repo}: {_why_refused(error, repo)}") from error
    except ValueError as error:  # what the hub finds wrong in the card's header
        raise EffaceError(f"cannot push {source}: {' '.join(str(error).split())}; fix it, then push again") from error
    except Exception as error:  # the hub client's HTTP library, and so its errors, differ by version
        raise EffaceError(f"cannot push to {repo}: {explain_no_answer(error)}; push again later") from error
    return repository_url(repo, revision)


def repository_url(repo: str, revision: str | None = None) -> str:
    """The page of a repository on the hub.

    Args:
        repo: As for `push`.
        revision: As for `push`.
    """
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}" + (f"/tree/{revision}" if revision else "")


def files_to_push(folder: Path, *, adapter: bool = False) -> list[Path]:
    """The files that `push` would upload, sorted.

    Args:
        folder: As for `push`.
        adapter: As for `push`.

    Raises:
        EffaceError: The folder is missing, unfinished or incomplete.
    """
    source = _source(folder, adapter=adapter)
    files = {path for pattern in (_ADAPTER if adapter else _MODEL) for path in source.glob(pattern) if path.is_file()}
    return sorted(path for path in files if not path.name.startswith("."))


def _source(folder: Path, *, adapter: bool) -> Path:
    return _adapter_folder(folder) if adapter else _model_folder(folder)


def _model_folder(folder: Path) -> Path:
    source = folder
    if _is_run(folder):
        paths = RunPaths(folder)
        source = paths.model
        if paths.scores.is_file() and not source.is_dir():
            raise EffaceError(f"{folder} is an evaluation, without a model; push the run or the model that it scored")
        has_scores = paths.results.is_file() and (source / _CARD).is_file()
        is_scored_run = paths.records_root.is_dir()  # not one of `efface unlearn` or `efface finetune`
        if not source.is_dir() or (is_scored_run and not has_scores):
            raise EffaceError(f"the run in {folder} is not finished; continue it with --resume, then push it")
    if not (source / "config.json").is_file():
        raise EffaceError(f"{source} is neither a run nor a model (no config.json); give the folder of one")
    if not any(source.glob("model*.safetensors")):
        raise EffaceError(
            f"{source} has no safetensors weights; save the model as safetensors (pickles are not pushed)"
        )
    if missing := missing_shards(source):
        raise EffaceError(f"{source} is missing {missing[0]}, which its index lists; save or copy the complete model")
    return source


def _adapter_folder(folder: Path) -> Path:
    source = folder
    if _is_run(folder):
        _model_folder(folder)  # an adapter is written before its run is finished
        source = RunPaths(folder).adapter
        if not source.is_dir():
            raise EffaceError(f"the run in {folder} trained no adapter; push its model instead")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (source / name).is_file():
            raise EffaceError(f"{source} has no {name}; give the folder of a run with LoRA or of its adapter")
    base = _base_of(source / "adapter_config.json")
    if not is_hub_name(base):
        raise EffaceError(
            f"{source} is an adapter for {base}, which is only on this machine; push the run's model instead, or write "
            "that model's name on the hub as base_model_name_or_path into its adapter_config.json"
        )
    return source


def _base_of(settings: Path) -> str:
    """The model that an adapter is for."""
    try:
        return str(read_json(settings)["base_model_name_or_path"])
    except (ValueError, TypeError, KeyError) as error:
        raise EffaceError(f"{settings} does not name the adapter's model; save the adapter again with PEFT") from error


def _is_run(folder: Path) -> bool:
    if not folder.is_dir():
        raise EffaceError(f"there is no folder {folder}; give that of a finished run or of a model")
    return RunPaths(folder).manifest.is_file()


def check_name(repo: str) -> None:
    """Check that the hub would accept the name of a repository, without asking it.

    Args:
        repo: As for `push`.

    Raises:
        EffaceError: It is no `owner/name`.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, yet not in __all__

    try:
        validate_repo_id(repo)
        is_possible = "/" in repo
    except HFValidationError:
        is_possible = False
    if not is_possible:
        raise EffaceError(
            f"{repo!r} is not a repository name; give owner/name in letters, digits and single '-', '_' or '.' within"
        )


def _token() -> str:
    from huggingface_hub import constants, get_token

    token = get_token()
    if token is None:
        page = f"{constants.ENDPOINT}/settings/tokens"
        raise EffaceError(f"the hub needs a token to push; create one with write access on {page}, then {LOG_IN}")
    return token


def _ensure_repository(api: HfApi, repo: str, *, private: bool, branch: str | None) -> None:
    """Create the repository and the branch if they do not exist."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        is_public = not api.model_info(repo, timeout=SECONDS_TO_CONNECT).private
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private, exist_ok=True)
    else:
        if private and is_public:
            raise EffaceError(
                f"{api.endpoint}/{repo} already exists and is public; push with --public, choose another name or make "
                "it private in its settings"
            )
    if branch is not None:
        api.create_branch(repo, branch=branch, exist_ok=True)


def _commit(api: HfApi, repo: str, source: Path, files: list[Path], *, branch: str | None, is_model: bool) -> None:
    """One commit, so that an incomplete model is never on the hub."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    names = [path.relative_to(source).as_posix() for path in files]
    stale = []
    if is_model:
        existing = api.list_repo_files(repo, revision=branch)
        stale = [name for name in existing if _is_loaded(name) and name not in names]
    api.create_commit(
        repo,
        [
            *(CommitOperationAdd(name, path) for name, path in zip(names, files, strict=True)),
            *(CommitOperationDelete(name) for name in stale),
        ],
        commit_message=f"{'Model' if is_model else 'Adapter'} pushed with efface {__version__}",
        revision=branch,
    )


def _is_loaded(name: str) -> bool:
    """Whether transformers may load weights from this file: it prefers a single file to shards."""
    return name in (WEIGHTS, SHARDS_INDEX) or (name.startswith("model-") and name.endswith(".safetensors"))


def _why_refused(error: HfHubHTTPError, repo: str) -> str:
    status = error.response.status_code
    if status >= 500:
        return f"{explain_no_answer(error)}; push again later"
    if status == 401:
        return invalid_token()
    if status in (403, 404):
        owner = repo.partition("/")[0]
        return (
            f"your token has no write access (see `hf auth whoami`); use one that has, or another owner than {owner!r}"
        )
    return f"the hub answers: {error.server_message or 'no'} (HTTP {status}); fix that or choose another name"
