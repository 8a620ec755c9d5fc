"""Read settings from YAML files and key=value pairs, merge them, and check them against a config class. No torch."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from efface.config.search_words import SEARCH_WORDS
from efface.data.config import FileConfig, expand_data
from efface.errors import EffaceError, suggest
from efface.files.safe_read import read_text
from efface.files.safe_yaml import MAX_BYTES, InvalidYamlError, parse_yaml
from efface.renamed import SETTING_VALUES, SWEEP_KEYS, renamed_to

Config = TypeVar("Config", bound=BaseModel)

PRESET_KEYS = ("preset", "recipe")
"""Keys that choose settings and are not settings themselves: a preset's name, and one of its recipes."""

_IMPOSSIBLE = re.compile("[\0\ud800-\udfff]")

_EXAMPLES = {
    "data": "give a file as data.forget=FILE, or a benchmark such as data=tofu-forget01",
    "model": "give a folder or a name on the Hugging Face hub as model=MODEL",
    "method": "give one such as method=me+gd",
    "questions": "give a file of questions and correct answers, such as people.csv",
}
"""Required key -> how to set it."""


class InvalidSettingError(EffaceError):
    """A setting has an unknown key or an invalid value."""

    def __init__(self, message: str, keys: tuple[int | str, ...] = ()) -> None:
        """Give the message, and the keys that lead to the setting, from the outermost one."""
        super().__init__(message)
        self.keys = keys


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a config file, unchecked.

    Args:
        path: A YAML file.

    Returns:
        Nested settings.

    Raises:
        EffaceError: Where the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        content = parse_yaml(read_text(path, MAX_BYTES, "give a config file, which has kilobytes"))
    except IsADirectoryError:
        raise EffaceError(f"{path} is a folder; give a YAML file, such as the config.yaml of a run") from None
    except OSError as error:
        raise EffaceError(f"cannot read the config file {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise EffaceError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except InvalidYamlError as error:
        raise EffaceError(f"{path}: not valid YAML ({error}); write settings as `key: value`") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise EffaceError(f"{path} must contain settings such as `method: me+gd`, one per line")
    return content


def parse_pairs(pairs: Sequence[str], config_class: type[BaseModel]) -> dict[str, Any]:
    """Parse settings from the command line: `["train.lr=1e-5"]` becomes `{"train": {"lr": "1e-5"}}`.

    Args:
        pairs: `key=value` texts; a later one overrides an earlier one. Values are read as YAML, except that the value
            of a text setting stays as typed: `model=2024` is a folder, not a number.
        config_class: The config whose keys are allowed.

    Returns:
        Nested settings, unchecked.

    Raises:
        EffaceError: For a pair without `=`, and for a key that the config does not have.
    """
    types = dotted_keys(config_class) | dict.fromkeys(PRESET_KEYS, str)
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise EffaceError(f"{pair!r} is not a setting; write key=value, such as train.lr=1e-5")
        if key not in types:
            raise EffaceError(_unknown_key(key, config_class))
        result = merge_settings(result, nest_settings({key: _parse_value(key, text, types[key])}))
    return result


def nest_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nest dotted keys: `{"train.lr": 1e-5}` becomes `{"train": {"lr": 1e-5}}`.

    Args:
        settings: Dotted key -> value; a later key overrides an earlier one.

    Returns:
        Nested settings.
    """
    result: dict[str, Any] = {}
    for key, value in settings.items():
        nested = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        result = merge_settings(result, nested)
    return result


def _parse_value(key: str, text: str, annotation: object) -> Any:
    """Read `text` as YAML, unless a setting of this type takes it as it is."""
    types = (annotation, *get_args(annotation))
    try:
        value = parse_yaml(text)
    except InvalidYamlError as error:
        if FileConfig in types or str in types:
            return text
        raise EffaceError(f"{key}={reprlib.repr(text)}: not valid YAML ({error}); correct the value") from error
    if FileConfig in types:  # a path, or the settings of a file
        return value if isinstance(value, str | dict | None) else text
    return text if str in types and not isinstance(value, str | None) else value


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested settings.

    Args:
        base: Settings to start from; not changed.
        over: Settings that override them, mapping by mapping. Where `data` names another source than in `base`, it
            replaces the `data` of `base` as a whole.

    Returns:
        The merged settings.
    """
    result = dict(base)
    for key, value in over.items():
        old, new = result.get(key), value
        if key == "data" and isinstance(new, dict):
            old, new = expand_data(old), expand_data(new)
            if isinstance(old, dict) and "source" in old and old["source"] != new.get("source", old["source"]):
                old = None
        result[key] = merge_settings(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
    return result


def dotted_keys(config_class: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every key of a config class, groups included.

    Args:
        config_class: The class.
        prefix: Text before each key, such as `train.`.

    Returns:
        Dotted key, such as `train.lr` -> its type annotation.
    """
    keys: dict[str, object] = {}
    for name, field in config_class.model_fields.items():
        keys[prefix + name] = field.annotation
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys |= dotted_keys(part, f"{prefix}{name}.")
    return keys


def validate_config(config_class: type[Config], settings: Mapping[str, Any]) -> Config:
    """Check settings and fill in the defaults.

    Args:
        config_class: The config to make.
        settings: Nested settings.

    Returns:
        The config.

    Raises:
        InvalidSettingError: For the first invalid setting; the message names its key, the given value and what is
            allowed.
        EffaceError: A text is impossible, or a value was renamed.
    """
    _refuse_impossible_texts(settings)
    _refuse_renamed_values(settings)
    try:
        return config_class.model_validate(dict(settings))
    except ValidationError as error:
        # a misspelled key comes first: it may be the reason why another one is missing
        problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise InvalidSettingError(_explain(problem, config_class), problem["loc"]) from error


def _refuse_impossible_texts(settings: object, key: str = "") -> None:
    """Refuse a text that no path and no file in UTF-8 can have."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            _refuse_impossible_texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(settings, list | tuple):
        for value in settings:
            _refuse_impossible_texts(value, key)
    elif isinstance(settings, str) and _IMPOSSIBLE.search(settings):
        raise EffaceError(
            f"{key}={reprlib.repr(settings)} has a null character or half of a surrogate pair; write it as UTF-8 text"
        )


def _refuse_renamed_values(settings: Mapping[str, Any]) -> None:
    """Refuse a renamed value, which would otherwise be read as the path of a file."""
    for key, old in SETTING_VALUES:
        given: Any = settings
        for part in key.split("."):
            given = given.get(part) if isinstance(given, Mapping) else None
        if given in (old, {"path": old}) and not Path(old).exists():  # a value of `data` may be expanded to a path
            raise EffaceError(f"{key}={old} is now called {renamed_to(key, old)}")


def _explain(problem: ErrorDetails, config_class: type[BaseModel]) -> str:
    """What pydantic found wrong, in one sentence."""
    key, given = ".".join(str(part) for part in problem["loc"]), reprlib.repr(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            return _unknown_key(key, config_class)
        case "missing":
            return f"{key} is required; {_EXAMPLES.get(key, f'add {key}=... or a line `{key}: ...` to the config')}"
        case "model_type":
            inside = next((name for name in dotted_keys(config_class) if name.startswith(f"{key}.")), f"{key}.NAME")
            return f"{key}={given}: {key} is a group of settings; set them as {inside}=... and so on"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
        case _:
            return f"{key}={given}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _unknown_key(key: str, config_class: type[BaseModel]) -> str:
    """That a key is unknown, with the keys that have this name elsewhere, or else the nearest in its own group."""
    keys = dotted_keys(config_class)
    group, _, name = key.rpartition(".")
    if key in keys:
        outermost, _, inner = key.partition(".")
        return f"{key!r} is not nested; write {outermost}: {{{inner.replace('.', ': {')}: ...{'}' * key.count('.')}"
    if new := renamed_to(key) or _renamed_in_sweep(key, keys):
        return f"{key!r} is now called {new!r}"
    if same_name := [repr(full) for full in keys if name in (full.rpartition(".")[2], *SEARCH_WORDS.get(full, ()))]:
        return f"unknown key {key!r}; did you mean {' or '.join(same_name)}?"
    while not (same_group := [full for full in keys if full.rpartition(".")[0] == group]):
        group = group.rpartition(".")[0]
    return f"unknown key {key!r}; {suggest(key, same_group)}"


def _renamed_in_sweep(key: str, keys: Mapping[str, object]) -> str | None:
    """The current name of a renamed key of a sweep file; None where `keys` are not those of one."""
    group, _, name = key.rpartition(".")
    new = SWEEP_KEYS.get(name, "")
    dotted = ".".join(part for part in f"{group}.{new}".split(".") if part and not part.isdecimal())
    return new if new and dotted in keys else None


def to_yaml(config: BaseModel) -> str:
    """A config as YAML, every default spelled out.

    Args:
        config: The config.

    Returns:
        A config file's text that `validate_config` turns into the same config. Method, model, data and seed come first.
    """
    values = config.model_dump(mode="json")
    first = {key: values[key] for key in ("method", "model", "data", "seed") if key in values}
    text: str = yaml.safe_dump(first | values, sort_keys=False, allow_unicode=True)
    return text
