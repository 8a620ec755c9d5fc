"""Shell completion: the words of an unfinished command line -> what can follow.

Each function imports what it needs when it is called, so that commands start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args, get_origin

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

_PATH_START = ("./",)


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete settings of a command that takes a preset first.

    Args:
        ctx: Context of typer, with the words before.
        incomplete: The word at the cursor.

    Returns:
        Names of presets, keys such as `train.lr=` and, after the `=`, values.
    """
    from efface.config.parse import PRESET_KEYS

    given = [str(word) for word in ctx.params.get("settings") or ()]
    return _words(_config_of(ctx), given, incomplete, more_keys=PRESET_KEYS, first=presets)


def pairs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete settings of a command that takes no preset: keys and, after the `=`, values."""
    given = [str(word) for word in ctx.params.get("words") or ()]
    return _words(_config_of(ctx), given, incomplete, more_keys=(), first=lambda _: [])


def _words(
    config_class: type[BaseModel],
    given: list[str],
    incomplete: str,
    *,
    more_keys: tuple[str, ...],
    first: Callable[[str], list[str]],
) -> list[str]:
    key, equals, _ = incomplete.partition("=")
    if equals and key:
        return [f"{key}={value}" for value in _values(config_class, key)]
    if given[-1:] == ["="]:  # bash cuts words at `=`, and typer drops one at the end
        return _values(config_class, given[-2]) if len(given) > 1 else []
    if given and "=" not in given[-1] and (values := _values(config_class, given[-1])):
        return values
    return ([] if given else first(incomplete)) + _keys(config_class, incomplete, more_keys)


def presets(incomplete: str) -> list[str]:
    """Names of presets."""
    from efface.config.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def definitions(incomplete: str) -> list[str]:
    """Names of score definitions."""
    from efface.scores.definitions import DEFINITIONS

    return [name for name in DEFINITIONS if name.startswith(incomplete)]


def benchmarks(incomplete: str) -> list[str]:
    """Names of benchmarks that `efface data fetch` knows, and `all`."""
    from efface.data.sources.benchmarks.hub_benchmarks import hub_benchmarks
    from efface.data.sources.benchmarks.published import published_benchmarks

    return [name for name in (*published_benchmarks(), *hub_benchmarks(), "all") if name.startswith(incomplete)]


def _config_of(ctx: typer.Context) -> type[BaseModel]:
    from efface.auditing.config import AuditConfig
    from efface.config.reference import COMMANDS

    config_classes: dict[str, type[BaseModel]] = {
        "audit": AuditConfig,
        **{name.removeprefix("data_"): each for name, each in COMMANDS.items()},
    }
    return config_classes.get(ctx.info_name or "", COMMANDS["run"])


def _keys(config_class: type[BaseModel], incomplete: str, more: tuple[str, ...]) -> list[str]:
    """Keys with their `=`; a single match comes with its values, or the shell would add a space after the `=`."""
    from efface.config.parse import dotted_keys

    keys = dotted_keys(config_class)
    groups = {key for key in keys if any(other.startswith(f"{key}.") for other in keys)} - _named_values().keys()
    offered = [key for key in (*keys, *more) if key not in groups and key.startswith(incomplete)]
    words = [f"{key}=" for key in offered]
    if len(offered) == 1:
        words += [f"{offered[0]}={value}" for value in _values(config_class, offered[0])]
    return words


def _values(config_class: type[BaseModel], key: str) -> list[str]:
    """The values that a setting can have, or else its default."""
    from efface.config.parse import dotted_keys

    if key in (named := _named_values()):
        return list(named[key])
    type_ = dotted_keys(config_class).get(key)
    alternatives = (type_, *get_args(type_))
    booleans = ["true", "false"] if bool in alternatives else []
    literals = [str(each) for part in alternatives if get_origin(part) is Literal for each in get_args(part)]
    return booleans + literals or _default(config_class, key)


def _named_values() -> dict[str, tuple[str, ...]]:
    from efface.config.presets import RECIPES
    from efface.data.config import MODEL_ANSWERS, SHORTHANDS
    from efface.objectives.config import METHODS
    from efface.text.prompt_format import NAMED_FORMATS

    return {
        "method": METHODS,
        "definition": tuple(definitions("")),
        "preset": tuple(presets("")),
        "recipe": RECIPES,
        "data": tuple(SHORTHANDS),
        "data.forget": _PATH_START,
        "data.retain": (MODEL_ANSWERS, *_PATH_START),
        "questions": _PATH_START,
        "model": _PATH_START,
        "tokenizer": _PATH_START,
        "text.format": ("chat", *NAMED_FORMATS),
        "train.lora": ("true", "false"),
        "audit.attacks": ("asks", "weights", "both"),
        "evaluate.embedder": ("default", "offline", "none"),
        "evaluate.judge": ("default", "key-facts", "none"),
        "evaluate.gibberish_detector": ("default", "none"),
    }


def _default(config_class: type[BaseModel], key: str) -> list[str]:
    from pydantic import BaseModel
    from pydantic_core import PydanticUndefined

    *groups, name = key.split(".")
    owner: type[BaseModel] | None = config_class
    for group in groups:
        field = owner.model_fields.get(group) if owner else None
        alternatives = (field.annotation, *get_args(field.annotation)) if field else ()
        owner = next((each for each in alternatives if isinstance(each, type) and issubclass(each, BaseModel)), None)
    field = owner.model_fields.get(name) if owner else None
    if field is None or field.default is PydanticUndefined:
        return []
    return ["null" if field.default is None else str(field.default)]
