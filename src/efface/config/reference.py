"""Every setting with a sentence, its allowed values, default, unit and the words that people search for. No torch.

The sentences are the docstrings below the fields of the config classes, so that they are written once.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from efface.config.commands import DownstreamRunConfig, EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.data_commands import AlternativesConfig, AnswersConfig, DataInspectionConfig, ProbeConfig
from efface.config.search_words import SEARCH_WORDS
from efface.data.config import FileConfig

UNITS = {
    "batch_size": "items",
    "epochs": "epochs",
    "max_mib": "MiB",
    "max_new_tokens": "tokens",
    "max_cache_tokens": "tokens",
    "max_tokens_per_forward": "tokens",
    "max_row_length": "tokens",
    "max_length": "tokens",
    "padded_length": "tokens",
    "passage_length": "characters",
    "memory_gib": "GiB",
    "micro_batch_size": "items",
    "save_minutes": "minutes",
    "save_steps": "optimizer steps",
    "max_steps": "optimizer steps",
    "stop_after": "epochs",
    "chunk_tokens": "tokens",
    "documents": "documents",
    "limit": "questions",
    "warmup_steps": "optimizer steps",
    "bits": "bits",
    "generic_questions": "questions",
    "known_facts": "questions",
    "forget_evaluation": "questions",
    "retain_evaluation": "questions",
    "retain_items": "items",
    "extra_retain_items": "items",
    "num_fewshot": "examples",
    "authors": "authors",
    "forget_authors": "authors",
    "max_values": "values",
}
"""Name of a setting -> its unit."""


COMMANDS: Mapping[str, type[BaseModel]] = {
    "run": RunConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluationConfig,
    "downstream": DownstreamRunConfig,
    "data_check": DataInspectionConfig,
    "data_answers": AnswersConfig,
    "data_alternatives": AlternativesConfig,
    "data_probe": ProbeConfig,
}
"""Command -> its settings."""


@dataclass(frozen=True)
class Setting:
    """One setting, as the reference shows it."""

    key: str
    """With dots: `train.lr`."""
    allowed: str
    default: str
    """`required` for a setting without one."""
    unit: str | None
    sentence: str
    words: tuple[str, ...]
    """What people type who look for it."""

    @property
    def group(self) -> str:
        """The first part of the key; empty for a setting of its own."""
        return self.key.partition(".")[0] if "." in self.key else ""


def settings(config_class: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """List the settings of a command.

    Args:
        config_class: Its config class.
        prefix: Text before each key, such as `train.`.

    Yields:
        Each setting, groups followed by what is in them. What can be set of a file is listed once, for the first one.
    """
    yield from _settings(config_class, prefix, seen=set())


@cache
def field_docs(config_class: type[BaseModel]) -> Mapping[str, str]:
    """Read the docstrings below the fields of a config class, inherited fields included.

    Args:
        config_class: The class; its source is installed with efface.

    Returns:
        Field -> docstring in one line.
    """
    docs: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            docs |= _own_docs(base)
    return docs


def _own_docs(config_class: type) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body[0]
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            docs[field.target.id] = " ".join(below.value.value.split())
    return docs


def _settings(config_class: type[BaseModel], prefix: str, seen: set[type[BaseModel]]) -> Iterator[Setting]:
    docs = field_docs(config_class)
    for name, field in config_class.model_fields.items():
        key = prefix + name
        yield Setting(
            key=key,
            allowed=_allowed(field),
            default=_default(field),
            unit=UNITS.get(name),
            sentence=docs.get(name) or _of_group(field.annotation),
            words=SEARCH_WORDS.get(key, ()),
        )
        for inside in _groups(field.annotation):
            if inside is not FileConfig:
                yield from _settings(inside, f"{key}.", seen)
            elif inside not in seen:
                seen.add(inside)
                yield from _settings(inside, f"{key}.", seen)


def _of_group(annotation: object) -> str:
    """What the docstring of a group of settings says."""
    return next((" ".join((each.__doc__ or "").partition("\n\n")[0].split()) for each in _groups(annotation)), "")


def _groups(annotation: object) -> Iterator[type[BaseModel]]:
    """The config classes among the types that a setting takes."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part


def _allowed(field: FieldInfo) -> str:
    """Types and limits in words, such as `integer, at least 1; or none`."""
    limits = [text for each in field.metadata for text in _limits(each)]
    return ", ".join([" or ".join(dict.fromkeys(_types(field.annotation))), *limits])


def _types(annotation: Any) -> Iterator[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from (f"`{'true' if each is True else each}`" for each in arguments)
    elif origin in (types.UnionType, typing.Union):
        for each in arguments:
            yield from _types(each)
    elif origin is typing.Annotated:
        yield from _types(arguments[0])
    elif origin is tuple:
        yield f"a list of {'; '.join(_types(arguments[0]))}"
    elif origin is dict:
        yield f"a mapping of {next(_types(arguments[0]))} to {next(_types(arguments[1]))}"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "a path" if annotation is FileConfig else "a group of settings"
    else:
        names = {bool: "`true` or `false`", int: "integer", float: "number", str: "text", type(None): "`null`"}
        yield names.get(annotation, _plain_name(annotation))


def _plain_name(annotation: Any) -> str:
    return {"Plugin": "plug-ins", "date": "a date, such as 2024-07-26"}.get(getattr(annotation, "__name__", ""), "text")


def _limits(constraint: object) -> Iterator[str]:
    if isinstance(constraint, Ge):
        yield f"at least {constraint.ge}"
    elif isinstance(constraint, Gt):
        yield f"more than {constraint.gt}"
    elif isinstance(constraint, Le):
        yield f"at most {constraint.le}"
    elif isinstance(constraint, Lt):
        yield f"less than {constraint.lt}"
    elif isinstance(constraint, MinLen) and constraint.min_length > 0:
        yield "not empty"
    elif isinstance(constraint, MaxLen):
        yield f"at most {constraint.max_length:,} characters"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "`null`"
    if isinstance(value, BaseModel):
        return "those below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"
