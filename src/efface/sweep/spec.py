"""What a sweep is to make: a YAML file, and the settings of each of its runs. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from efface.data.config import OWN_ANSWERS
from efface.errors import EffaceError, nearest
from efface.presets import config_from, preset
from efface.report.grid import SEED, named, shown
from efface.run.config import EvaluationConfig, FinetuneConfig, RunConfig
from efface.run.settings import PRESET_KEYS, dotted_keys, merge, parse_pairs, read_yaml, validated
from efface.sweep.key import once

Line = Literal["retrained", "random"]
"""A model to compare with: the target made without the forget set, or one with random weights."""


class Addition(BaseModel):
    """Settings on top for some combinations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: dict[str, Any] = Field(min_length=1)
    """Settings of the grid -> the value of each that these combinations have."""
    then: dict[str, Any] = Field(min_length=1)
    """Settings as in a config file; dots reach into groups."""


class SweepSpec(BaseModel):
    """What a sweep makes, as its YAML file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: dict[str, Any] | None = None
    """Settings of `efface finetune`: the model that runs without a `model` of their own start from."""
    settings: dict[str, Any] = {}
    """Settings of every run, as in a config file."""
    grid: dict[str, list[Any]] = {}
    """Setting, with dots -> the values that it takes. Every combination is a run; without a grid, there is one."""
    per: tuple[Addition, ...] = ()
    lines: tuple[Line, ...] = ()
    """What to compare with, besides the model before unlearning."""
    keep_models: bool = False
    """Keep the model of each run, too; otherwise its scores and records alone."""

    @field_validator("grid", mode="before")
    @classmethod
    def _lists_of_values(cls, value: Any) -> Any:
        for key, values in value.items() if isinstance(value, dict) else ():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: {shown(values)} is no list of values; give one, such as [0, 1]")
        return value

    @field_validator("lines")
    @classmethod
    def _once(cls, value: tuple[Line, ...]) -> tuple[Line, ...]:
        return tuple(dict.fromkeys(value))


@dataclass(frozen=True)
class Point:
    """One combination of the grid."""

    values: Mapping[str, Any]
    """Setting of the grid -> its value."""
    config: RunConfig

    def __str__(self) -> str:
        return named(self.values) or self.config.method


def read_spec(path: Path, pairs: Sequence[str]) -> SweepSpec:
    """The spec of a sweep; `key=value` pairs override its `settings`.

    Raises `EffaceError` for a file that is no spec, a setting that the grid varies and something else fixes, and
    additions for combinations that there are not.
    """
    overrides = parse_pairs(pairs, RunConfig)
    content = read_yaml(path)
    try:
        spec = validated(SweepSpec, content)
        spec = spec.model_copy(update={"settings": merge(spec.settings, overrides)})
        _check(spec)
    except EffaceError as error:
        raise EffaceError(f"{path}: {error}") from error
    return spec


def points(spec: SweepSpec, *, target: str | None) -> tuple[Point, ...]:
    """Every combination with its settings, resolved as those of `efface run`, the first key of the grid slowest.

    `target`: the model of those that name none. Raises `EffaceError` for settings that cannot be used, and says of
    which combination.
    """
    combinations = [dict(zip(spec.grid, values, strict=True)) for values in product(*spec.grid.values())]
    return tuple(Point(values, _resolved(spec, values, target)) for values in combinations)


def target_config(spec: SweepSpec) -> FinetuneConfig | None:
    """The settings of the target, resolved as those of `efface finetune`. Raises `EffaceError` as that does."""
    if spec.target is None:
        return None
    own, below = dict(spec.target), dict[str, Any]()
    try:
        if "preset" in own:
            found, recipe = preset(str(own.pop("preset"))), str(own.pop("recipe", "ours"))
            below = found.fine_tuning(recipe=recipe)
        return validated(FinetuneConfig, merge(below, own))
    except EffaceError as error:
        raise EffaceError(f"target: {error}") from error


def evaluation_of(config: RunConfig) -> EvaluationConfig:
    """How the models of such a run are scored. Raises `EffaceError` for what only a run can be scored on."""
    if config.continual is not None:
        raise EffaceError("lines: a queue of requests is compared with the model before it alone; leave lines out")
    if config.data.retain == OWN_ANSWERS:
        raise EffaceError(
            "lines: with data.retain=generated a model is scored on its own answers, and others do not compare; give "
            "a retain file, or leave lines out"
        )
    shared = EvaluationConfig.model_fields.keys() & RunConfig.model_fields.keys() - {SEED}
    values = {name: getattr(config, name) for name in shared}
    return EvaluationConfig(**{**values, "evaluate": once(config.evaluate)})


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`{"train.lr": 1e-5}` as `{"train": {"lr": 1e-5}}`."""
    result: dict[str, Any] = {}
    for key, given in settings.items():
        value = given
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def _resolved(spec: SweepSpec, values: Mapping[str, Any], target: str | None) -> RunConfig:
    settings = merge(spec.settings, nested(values))
    for each in spec.per:
        if all(values[key] == value for key, value in each.when.items()):
            settings = merge(settings, nested(each.then))
    if target is not None:
        settings = {"model": target, **settings}
    try:
        config = config_from(RunConfig, settings)
        if config.continual is not None and config.data.retain == OWN_ANSWERS:
            raise EffaceError("continual with data.retain=generated is for efface run alone; give a retain file")
    except EffaceError as error:
        raise EffaceError(f"{named(values)}: {error}" if values else str(error)) from error
    return config


def _check(spec: SweepSpec) -> None:
    known = (*dotted_keys(RunConfig), *PRESET_KEYS)
    for key in spec.grid:
        if key not in known:
            raise EffaceError(f"grid: unknown key {key!r}; {nearest(key, known)}")
        if _fixes(spec.settings, key, spec.grid[key]):
            raise EffaceError(f"{key} is in the grid and among the settings; leave it out of one of them")
    for each in spec.per:
        for key, value in each.when.items():
            if key not in spec.grid:
                raise EffaceError(f"per: when {key} is not in the grid; {nearest(key, spec.grid)}")
            if value not in spec.grid[key]:
                raise EffaceError(
                    f"per: when {key}={shown(value)} is in no combination; the grid has "
                    f"{', '.join(map(shown, spec.grid[key]))}"
                )
        for key in spec.grid:
            if _fixes(nested(each.then), key, spec.grid[key]):
                raise EffaceError(f"per: {key} is in the grid and in a `then`; leave it out of one of them")


def _fixes(settings: Mapping[str, Any], key: str, values: Sequence[Any]) -> bool:
    """Whether nested settings say what the grid varies: only a group of settings lies beneath other ones."""
    found: Any = settings
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return False
        found = found[part]
    return not all(isinstance(each, Mapping) for each in (found, *values))
