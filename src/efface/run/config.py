"""A run's settings: from YAML and key=value pairs to one checked object. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from efface.data.config import DataConfig, parse_data
from efface.errors import EffaceError, nearest
from efface.evaluate.config import EvaluateConfig
from efface.objectives.method import ObjectiveConfig, check_method
from efface.scores import definition
from efface.text.template import TextConfig
from efface.train.config import TrainConfig

Device = Literal["auto", "cpu", "cuda"]
Config = TypeVar("Config", bound=BaseModel)


def _data(value: object) -> object:
    """`data: tofu-forget01` for short; forget and retain files need no `source`."""
    if isinstance(value, str):
        return parse_data(value)
    if isinstance(value, dict) and "source" not in value and "forget" in value:
        return {"source": "files", **value}
    return value


class RunConfig(ObjectiveConfig):
    """Everything that decides a run of `efface run`; kept as config.yaml in its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    model: str
    """A folder, or a name on the Hugging Face hub."""
    data: DataConfig
    seed: int = Field(default=0, ge=0, lt=2**32)
    recipe: Literal["ours", "published"] = "ours"
    """Which settings a preset brings: found by our own search, or the published ones."""
    definition: str = "closer-look"
    device: Device = "auto"
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    _short_data = field_validator("data", mode="before")(_data)

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        return check_method(value)

    @field_validator("definition")
    @classmethod
    def _known_definition(cls, value: str) -> str:
        return definition(value).name


class FinetuneConfig(BaseModel):
    """Everything that decides a target model of `efface finetune`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    data: DataConfig
    items: int | None = Field(default=None, gt=0)
    """Train on so many questions only: those to forget first, then the others."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Device = "auto"
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig(lr=2e-5)

    _short_data = field_validator("data", mode="before")(_data)


def read_yaml(path: Path) -> dict[str, Any]:
    """A config file's settings. Raises `EffaceError` for one that is missing, damaged or no mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EffaceError(f"there is no config file {path}; check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise EffaceError(
            f"{path} is not YAML ({where}{getattr(error, 'problem', error)}); mend or rewrite it"
        ) from error
    if not isinstance(content, dict):
        raise EffaceError(f"{path} must hold settings such as `method: me+gd`, one a line")
    return content


def parse_pairs(pairs: Sequence[str], model: type[BaseModel]) -> dict[str, Any]:
    """`["train.lr=1e-5"]` as `{"train": {"lr": 1e-5}}`; values are read as YAML."""
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise EffaceError(f"{pair!r} is not a setting; write key=value, such as train.lr=1e-5")
        if key != "preset" and key not in (keys := set(dotted_keys(model))):
            raise EffaceError(f"unknown key {key!r}; {nearest(key, keys)}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping; shorthands of `data` are spelled out first."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if key == "data" and isinstance(old, str) and isinstance(value, dict):
            old = parse_data(old).model_dump(exclude_defaults=True)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that a config of this class takes, nested ones with dots."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from dotted_keys(kind, f"{prefix}{name}.")


def validated(model: type[Config], values: Mapping[str, Any]) -> Config:
    """Check settings. Raises `EffaceError` for the first that is wrong: which, what was given, what is allowed."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            raise EffaceError(f"unknown key {key!r}; {nearest(key, dotted_keys(model))}") from None
        if problem["type"] == "missing":
            raise EffaceError(f"{key} is required; add {key}=... or a line `{key}: ...` to the config") from None
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, Exception):
            raise EffaceError(f"{key}: {cause}") from None
        message = problem["msg"][:1].lower() + problem["msg"][1:]
        raise EffaceError(f"{key}={problem['input']!r}: {message}") from None


def to_yaml(config: BaseModel) -> str:
    """The resolved settings, every default spelled out."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text
