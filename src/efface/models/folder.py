"""The folder of a model: where it is, what it contains, and its config.json. No weight is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from efface.errors import EffaceError, first_line
from efface.files.safe_read import MIB, read_json
from efface.files.sums import file_sum, folder_sums
from efface.hub import MODEL_FILES, TOKENIZER_FILES, UnavailableError, missing_shards, resolve_model

_AGAIN = "copy or download the model again"
MAX_TEXT = 128 * MIB
"""Of one file of a model beside its weights; the largest tokenizer.json have 32 MiB."""


def model_folder(name: str) -> Path:
    """The local folder of a model.

    Args:
        name: A local folder, or the name of a model on the Hugging Face hub, which is downloaded to the hub's cache if
            it is not there yet.

    Returns:
        The folder, with a config.json and all safetensors weights.

    Raises:
        EffaceError: For a folder without config.json or with missing weights, for a name, revision or token that the
            hub does not accept, and where the hub cannot be reached.
    """
    try:
        folder = resolve_model(name)
    except UnavailableError as error:
        raise EffaceError(f"model: {error}; give the folder of a model as model=FOLDER") from error
    if not (folder / "config.json").is_file():
        raise EffaceError(f"model {name} has no config.json; give a folder written by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        raise EffaceError(f"model {name} has no safetensors weights; convert it (pickled weights are not loaded)")
    if missing := missing_shards(folder):
        raise EffaceError(f"model {name}: {missing[0]} is missing; {_AGAIN}, with all its files")
    return folder


def model_sha256(folder: Path) -> str:
    """One digest of everything that a model is loaded from.

    Args:
        folder: The model's folder.

    Returns:
        SHA-256 of the names and contents of config, tokenizer, chat template and weights.
    """
    return combined_sha256(model_sums(folder))


def model_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that a model is loaded from: config, tokenizer, chat template and weights."""
    return folder_sums(folder, {path for pattern in MODEL_FILES for path in folder.glob(pattern)})


def files_sha256(paths: Iterable[Path]) -> str:
    """One digest of the names and contents of files, whatever their order."""
    return combined_sha256({path.name: file_sum(path) for path in sorted(paths)})


def combined_sha256(sums: Mapping[str, str]) -> str:
    """One digest of the names and contents of files.

    Args:
        sums: Name -> SHA-256, in the order of the names.
    """
    digest = hashlib.sha256()
    for name, each in sums.items():
        digest.update(name.encode())
        digest.update(bytes.fromhex(each))
    return digest.hexdigest()


def check_sizes(folder: Path) -> None:
    """Refuse settings, vocabularies and templates that no model has so large: libraries read whole files.

    Args:
        folder: Of a model or a tokenizer.

    Raises:
        EffaceError: One is larger than `MAX_TEXT`.
    """
    patterns = {*MODEL_FILES, *TOKENIZER_FILES, "additional_chat_templates/*"} - {"*.safetensors"}
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
        if (size := path.stat().st_size) > MAX_TEXT:
            raise EffaceError(
                f"{path} has {size // MIB:,} MiB, the limit for a file beside the weights is {MAX_TEXT // MIB} MiB; "
                "give the file that the model was saved with"
            )


def load_model_config(folder: Path) -> Any:
    """The config.json of a model.

    Args:
        folder: The model's folder.

    Returns:
        transformers' config object.

    Raises:
        EffaceError: Where it does not load, or has more layers than the folder has weights; or as `check_sizes`.
    """
    from transformers import AutoConfig

    check_sizes(folder)
    stored = check_config_file(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers and the model's config class each raise their own
        reason = _unknown_type(stored) or f"{first_line(error)}; give the config.json that it was saved with"
        raise EffaceError(f"the config.json of model {folder} does not load: {reason}") from error
    _check_layer_count(folder, config)
    return config


def check_config_file(folder: Path) -> dict[str, Any]:
    """Refuse a config.json that is not JSON: libraries that read it besides their own files name those as the cause.

    Args:
        folder: Of a model or a tokenizer.

    Returns:
        What is in the file; nothing where there is none.

    Raises:
        EffaceError: It is not a JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        stored = read_json(path)
    except (OSError, ValueError) as error:
        raise EffaceError(f"{path} is not a JSON file ({first_line(error)}); {_AGAIN}") from error
    if not isinstance(stored, dict):
        raise EffaceError(f"{path} is not a JSON object of settings; {_AGAIN}")
    return stored


def _unknown_type(stored: Mapping[str, Any]) -> str | None:
    """That transformers does not know the type of a model, and what to do; None where it does, or there is none."""
    from transformers import CONFIG_MAPPING, __version__

    name = stored.get("model_type")
    if not isinstance(name, str) or name in CONFIG_MAPPING:
        return None
    return (
        f"transformers {__version__} does not know the model_type {name!r}; correct it, or install a version of "
        "transformers that knows it"
    )


def _check_layer_count(folder: Path, config: Any) -> None:
    """Refuse a config.json of more layers than there are weights, before a million layers are created from it."""
    from safetensors import SafetensorError, safe_open

    layers, weights = getattr(config.get_text_config(), "num_hidden_layers", 0), 0
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="np") as file:
                weights += len(file.keys())
        except (OSError, SafetensorError):  # loading the model says what is wrong with the file
            return
    if weights and layers > weights:
        raise EffaceError(
            f"the config.json of model {folder} has {layers:,} layers, but its files only {weights:,} weights; give "
            "the config.json that it was saved with"
        )
