"""From a YAML file and key=value pairs to checked settings, and the sentence that says which is wrong."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from efface.data.config import FileConfig, expand_data
from efface.errors import EffaceError, suggest
from efface.renamed import SETTING_VALUES, SWEEP_KEYS, current_settings, renamed_to

Config = TypeVar("Config", bound=BaseModel)

PRESET_KEYS = ("preset", "recipe")
"""What chooses settings and is none itself: a preset's name, and `ours` or `published` for its numbers."""

_HOW_TO_GIVE = {
    "data": "give a file as data.forget=FILE, or a benchmark such as data=tofu-forget01",
    "model": "give a folder or a name on the hub as model=MODEL",
    "method": "give one such as method=me+gd",
}


def read_yaml(path: Path) -> dict[str, Any]:
    """A config file's settings. Raises `EffaceError` for one that cannot be read, is damaged or no mapping."""
    if path.is_dir():
        raise EffaceError(f"{path} is a folder; give a YAML file, such as the config.yaml of a run")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EffaceError(f"cannot read the config file {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise EffaceError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or error
        raise EffaceError(f"{path}{where}: not YAML ({problem}); write settings as `key: value`") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise EffaceError(f"{path} must hold settings such as `method: me+gd`, one a line")
    return content


def read_saved_settings(path: Path) -> dict[str, Any]:
    """The settings of a config.yaml that efface wrote, this version or an earlier one.

    Args:
        path: The file.

    Returns:
        Nested settings under their current names.

    Raises:
        EffaceError: As `read_yaml`.

    """
    return current_settings(read_yaml(path))


def parse_pairs(pairs: Sequence[str], model: type[BaseModel]) -> dict[str, Any]:
    """`["train.lr=1e-5"]` as `{"train": {"lr": "1e-5"}}`; values are read as YAML, a later pair wins.

    What a setting takes as text stays as typed, so that `model=2024` is a folder and no number. Raises
    `EffaceError` for a pair without `=` and for a key that `model` does not have.
    """
    kinds = dotted_keys(model) | dict.fromkeys(PRESET_KEYS, str)
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise EffaceError(f"{pair!r} is not a setting; write key=value, such as train.lr=1e-5")
        if key not in kinds:
            raise EffaceError(_unknown_key(key, model))
        value = _value(text, kinds[key])
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merge_settings(result, value)
    return result


def _value(text: str, kind: object) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    kinds = (kind, *get_args(kind))
    if FileConfig in kinds:  # a path, or settings of its own
        return value if isinstance(value, str | dict | None) else text
    return text if str in kinds and not isinstance(value, str | None) else value


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping; data of another source starts anew."""
    result = dict(base)
    for key, value in over.items():
        old, new = result.get(key), value
        if key == "data" and isinstance(new, dict):
            old, new = expand_data(old), expand_data(new)
            if isinstance(old, dict) and "source" in old and old["source"] != new.get("source", old["source"]):
                old = None
        result[key] = merge_settings(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
    return result


def dotted_keys(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every key that a config of this class takes, nested ones with dots -> its type."""
    keys: dict[str, object] = {}
    for name, field in model.model_fields.items():
        keys[prefix + name] = field.annotation
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys |= dotted_keys(kind, f"{prefix}{name}.")
    return keys


def validate_config(model: type[Config], values: Mapping[str, Any]) -> Config:
    """Check settings. Raises `EffaceError` for one that is wrong: which, what was given, what is allowed."""
    _refuse_renamed_values(values)
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        # a misspelled key comes first: it may be the reason why another one is missing
        problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise EffaceError(_sentence(problem, model)) from error


def _refuse_renamed_values(values: Mapping[str, Any]) -> None:
    """Refuse a value that has another name now, where it would be taken for the path of a file."""
    for key, old in SETTING_VALUES:
        given: Any = values
        for part in key.split("."):
            given = given.get(part) if isinstance(given, Mapping) else None
        if given in (old, {"path": old}) and not Path(old).exists():  # a value of `data` may be expanded to a path
            raise EffaceError(f"{key}={old} is now called {renamed_to(key, old)}")


def _sentence(problem: ErrorDetails, model: type[BaseModel]) -> str:
    key, given = ".".join(str(part) for part in problem["loc"]), reprlib.repr(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            return _unknown_key(key, model)
        case "missing":
            return f"{key} is required; {_HOW_TO_GIVE.get(key, f'add {key}=... or a line `{key}: ...` to the config')}"
        case "model_type":
            inner = [name for name in dotted_keys(model) if name.startswith(f"{key}.")]
            return f"{key}={given}: it holds settings of its own; give them as {inner[0]}=... and so on"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
        case _:
            return f"{key}={given}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    """Which key is unknown, and what was meant: the same name in another group, or the nearest in its own."""
    keys = dotted_keys(model)
    group, _, name = key.rpartition(".")
    if new := renamed_to(key) or _renamed_in_sweep(key, keys):
        return f"{key!r} is now called {new!r}"
    if elsewhere := [repr(full) for full in keys if full.rpartition(".")[2] == name]:
        return f"unknown key {key!r}; did you mean {' or '.join(elsewhere)}?"
    while not (beside := [full for full in keys if full.rpartition(".")[0] == group]):
        group = group.rpartition(".")[0]
    return f"unknown key {key!r}; {suggest(key, beside)}"


def _renamed_in_sweep(key: str, keys: Mapping[str, object]) -> str | None:
    """The current name of a key of a sweep's spec, where `keys` are those of one."""
    group, _, name = key.rpartition(".")
    new = SWEEP_KEYS.get(name, "")
    inside = ".".join(part for part in f"{group}.{new}".split(".") if part and not part.isdecimal())
    return new if new and inside in keys else None


def to_yaml(config: BaseModel) -> str:
    """The resolved settings, every default spelled out; what a reader looks for comes first."""
    values = config.model_dump(mode="json")
    first = {key: values[key] for key in ("method", "model", "data", "seed") if key in values}
    text: str = yaml.safe_dump(first | values, sort_keys=False, allow_unicode=True)
    return text
