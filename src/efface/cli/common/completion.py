"""What the shell offers behind TAB. Everything is imported here only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args, get_origin

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

_A_PATH = ("./",)


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Presets, keys such as `train.lr=` and, behind the `=`, values."""
    from efface.config.parse import PRESET_KEYS

    given = [str(word) for word in ctx.params.get("settings") or ()]
    return _words(_config_of(ctx), given, incomplete, more_keys=PRESET_KEYS, first=presets)


def pairs(ctx: typer.Context, incomplete: str) -> list[str]:
    """The same for a command that takes no preset."""
    given = [str(word) for word in ctx.params.get("words") or ()]
    return _words(_config_of(ctx), given, incomplete, more_keys=(), first=lambda _: [])


def _words(
    kind: type[BaseModel],
    given: list[str],
    incomplete: str,
    *,
    more_keys: tuple[str, ...],
    first: Callable[[str], list[str]],
) -> list[str]:
    key, equals, _ = incomplete.partition("=")
    if equals and key:
        return [f"{key}={value}" for value in _values(kind, key)]
    if given[-1:] == ["="]:  # bash cuts words at `=`, and typer drops one at the end
        return _values(kind, given[-2]) if len(given) > 1 else []
    if given and "=" not in given[-1] and (values := _values(kind, given[-1])):
        return values
    return ([] if given else first(incomplete)) + _keys(kind, incomplete, more_keys)


def presets(incomplete: str) -> list[str]:
    """Names of presets."""
    from efface.config.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def definitions(incomplete: str) -> list[str]:
    """Names of the definitions of scores."""
    from efface.scores.definitions import DEFINITIONS

    return [name for name in DEFINITIONS if name.startswith(incomplete)]


def benchmarks(incomplete: str) -> list[str]:
    """Names of what can be fetched."""
    from efface.data.sources.published import published_benchmarks

    return [name for name in (*published_benchmarks(), "all") if name.startswith(incomplete)]


def _config_of(ctx: typer.Context) -> type[BaseModel]:
    from efface.config.commands import (
        AnswersConfig,
        DataInspectionConfig,
        DownstreamRunConfig,
        EvaluationConfig,
        FinetuneConfig,
        ProbeConfig,
        RunConfig,
    )

    kinds: dict[str | None, type[BaseModel]] = {
        "finetune": FinetuneConfig,
        "evaluate": EvaluationConfig,
        "downstream": DownstreamRunConfig,
        "check": DataInspectionConfig,
        "describe": DataInspectionConfig,
        "answers": AnswersConfig,
        "probe": ProbeConfig,
    }
    return kinds.get(ctx.info_name, RunConfig)


def _keys(kind: type[BaseModel], incomplete: str, more: tuple[str, ...]) -> list[str]:
    """Keys and their `=`; a lone one comes with its values, or the shell would put a space behind the `=`."""
    from efface.config.parse import dotted_keys

    keys = dotted_keys(kind)
    groups = {key for key in keys if any(other.startswith(f"{key}.") for other in keys)} - _named_values().keys()
    offered = [key for key in (*keys, *more) if key not in groups and key.startswith(incomplete)]
    words = [f"{key}=" for key in offered]
    return words + [f"{offered[0]}={value}" for value in _values(kind, offered[0])] if len(offered) == 1 else words


def _values(kind: type[BaseModel], key: str) -> list[str]:
    """What a setting may be, or else its default."""
    from efface.config.parse import dotted_keys

    if key in (named := _named_values()):
        return list(named[key])
    type_ = dotted_keys(kind).get(key)
    kinds = (type_, *get_args(type_))
    switches = ["true", "false"] if bool in kinds else []
    literals = [str(each) for part in kinds if get_origin(part) is Literal for each in get_args(part)]
    return switches + literals or _default(kind, key)


def _named_values() -> dict[str, tuple[str, ...]]:
    from efface.data.config import MODEL_ANSWERS, SHORTHANDS
    from efface.objectives.config import METHODS
    from efface.text.prompt_format import NAMED_FORMATS

    return {
        "method": METHODS,
        "definition": tuple(definitions("")),
        "preset": tuple(presets("")),
        "recipe": ("ours", "published"),
        "data": tuple(SHORTHANDS),
        "data.forget": _A_PATH,
        "data.retain": (MODEL_ANSWERS, *_A_PATH),
        "questions": _A_PATH,
        "model": _A_PATH,
        "text.format": ("chat", *NAMED_FORMATS),
        "train.lora": ("true", "false"),
        "evaluate.embedder": ("default", "offline", "none"),
        "evaluate.judge": ("default", "key-facts", "none"),
    }


def _default(kind: type[BaseModel], key: str) -> list[str]:
    from pydantic import BaseModel
    from pydantic_core import PydanticUndefined

    *groups, name = key.split(".")
    within: type[BaseModel] | None = kind
    for group in groups:
        field = within.model_fields.get(group) if within else None
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        within = next((each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)), None)
    field = within.model_fields.get(name) if within else None
    if field is None or field.default is PydanticUndefined:
        return []
    return ["null" if field.default is None else str(field.default)]
