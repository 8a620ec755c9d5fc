"""The tokenizer of a model: from the model's folder, or named where that folder has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efface.errors import EffaceError, first_line
from efface.hub import TOKENIZER_FILES, UnavailableError, has_tokenizer, resolve_tokenizer
from efface.models.folder import check_config_file, check_sizes, files_sha256, load_model_config

_MOST_UNUSED, _MOST_UNUSED_PART = 1024, 0.05
"""For how many ids, or for which part of a larger vocabulary, a tokenizer may have no token: models round it up."""


@dataclass(frozen=True)
class NamedTokenizer:
    """A tokenizer that the user named."""

    name: str
    """A folder, or a name on the hub."""
    sha256: str
    """Digest of its files."""


@dataclass(frozen=True)
class ModelTokenizer:
    """A tokenizer and where it is from."""

    tokenizer: Any
    """Of transformers."""
    named: NamedTokenizer | None
    """None where it is from the model's own folder."""


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model.

    Args:
        folder: The model's folder.

    Returns:
        transformers' tokenizer.

    Raises:
        EffaceError: Where there is none that loads.
    """
    if not has_tokenizer(folder):  # transformers makes an empty one for some types of models
        raise EffaceError(
            f"model {folder} has no tokenizer; give that of the model that it was trained from as "
            "tokenizer=NAME_OR_FOLDER, or save one in that folder"
        )
    return _load(folder, f"model {folder}", "give another one as tokenizer=NAME_OR_FOLDER, or save one in that folder")


def model_tokenizer(folder: Path, name: str | None) -> ModelTokenizer:
    """The tokenizer to use with a model.

    Args:
        folder: The model's folder.
        name: The setting `tokenizer`: a folder, or a name on the hub, of which the tokenizer alone is downloaded; None
            for the tokenizer in the model's folder.

    Returns:
        The tokenizer.

    Raises:
        EffaceError: It does not load, or has another vocabulary than the model.
    """
    if name is None:
        return ModelTokenizer(load_tokenizer(folder), None)
    source = tokenizer_folder(name)
    tokenizer = _load(source, f"tokenizer {name}", "give the folder or name of a model with one")
    if reason := _vocabulary_mismatch(folder, tokenizer):
        raise EffaceError(
            f"tokenizer {name} has another vocabulary than model {folder}: {reason}; give the tokenizer of the model "
            "that it was trained from"
        )
    return ModelTokenizer(tokenizer, NamedTokenizer(name, tokenizer_sha256(source)))


def tokenizer_folder(name: str) -> Path:
    """The local folder of a named tokenizer.

    Args:
        name: A folder, or a name on the hub.

    Raises:
        EffaceError: There is none.
    """
    try:
        source = resolve_tokenizer(name)
    except UnavailableError as error:
        raise EffaceError(f"tokenizer: {error}; give a folder with a tokenizer as tokenizer=FOLDER") from error
    if not has_tokenizer(source):
        raise EffaceError(f"tokenizer {name} has no tokenizer files; give the folder or name of a model with one")
    return source


def tokenizer_sha256(folder: Path) -> str:
    """One digest of the names and contents of everything that a tokenizer is loaded from."""
    return files_sha256({path for pattern in TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()})


def _load(folder: Path, what: str, remedy: str) -> Any:
    from transformers import AutoTokenizer

    check_sizes(folder)
    check_config_file(folder)  # which names the class of the tokenizer
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # tokenizers and transformers each raise their own
        raise EffaceError(f"{what} has no tokenizer that loads ({first_line(error)}); {remedy}") from error


def _vocabulary_mismatch(folder: Path, tokenizer: Any) -> str | None:
    """What shows that a tokenizer is not for a model; None if nothing does."""
    if has_tokenizer(folder):
        own = {id_: token for token, id_ in load_tokenizer(folder).get_vocab().items()}
        for token, id_ in tokenizer.get_vocab().items():
            if own.get(id_, token) != token:
                return f"token {id_} is {token!r}, and {own[id_]!r} in the tokenizer of the model"
    config = load_model_config(folder).get_text_config()
    size, known = int(config.vocab_size), len(tokenizer)
    if tokenizer.vocab_size > size:  # without added tokens, such as one for images that a text model does not know
        return f"it has {tokenizer.vocab_size:,} tokens, and the model knows {size:,}"
    if size - known > max(_MOST_UNUSED, _MOST_UNUSED_PART * size):
        return f"it has {known:,} tokens, and the model knows {size:,}"
    for role in ("bos", "eos", "pad"):
        ids = getattr(config, f"{role}_token_id", None)
        for id_ in ids if isinstance(ids, list) else [ids]:
            if isinstance(id_, int) and known <= id_ < size:
                return f"it has no token {id_}, the {role.upper()} token of the model"
    return None
