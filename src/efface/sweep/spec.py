"""What a sweep is to make: a YAML file, and the settings of each of its runs. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import (
    PRESET_KEYS,
    dotted_keys,
    merge_settings,
    nest_settings,
    parse_pairs,
    read_yaml,
    validate_config,
)
from efface.config.resolve import resolve_config
from efface.data.config import MODEL_ANSWERS
from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel
from efface.sweep.run_key import without_epochs
from efface.sweep.table import SEED, combination_name, display_value

Baseline = Literal["retrained", "random"]
"""A model to compare with: the target made without the forget set, or one with random weights."""

GridValues = Annotated[dict[str, Any], Field(min_length=1)]
"""Settings of the grid -> the value of each that these combinations have."""

_TARGET = "target."
"""In front of a setting that is the target's."""


class Override(FrozenModel):
    """Settings on top for some combinations."""

    where: GridValues
    settings: dict[str, Any] = Field(min_length=1)
    """Settings as in a config file; dots reach into groups."""


class SweepSpec(FrozenModel):
    """What a sweep makes, as its YAML file says it."""

    target: dict[str, Any] | None = None
    """Settings of `efface finetune`: the model that runs without a `model` of their own start from."""
    settings: dict[str, Any] = Field(default={})
    """Settings of every run, as in a config file."""
    grid: dict[str, list[Any]] = Field(default={})
    """Setting, with dots -> the values that it takes. Every combination is a run; without a grid, there is one."""
    exclude: tuple[GridValues, ...] = ()
    """Combinations that are no runs."""
    overrides: tuple[Override, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    """What to compare with, besides the model before unlearning."""
    keep_models: bool = False
    """Keep the model of each run, too; otherwise its scores and records alone."""

    @field_validator("grid", mode="before")
    @classmethod
    def _lists_of_values(cls, value: Any) -> Any:
        for key, values in value.items() if isinstance(value, dict) else ():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: {display_value(values)} is no list of values; give one, such as [0, 1]")
        return value

    @field_validator("baselines")
    @classmethod
    def _once(cls, value: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        return tuple(dict.fromkeys(value))


@dataclass(frozen=True)
class Combination:
    """One combination of the grid."""

    values: Mapping[str, Any]
    """Setting of the grid -> its value."""
    config: RunConfig

    def __str__(self) -> str:
        return combination_name(self.values) or self.config.method


def read_spec(path: Path, pairs: Sequence[str]) -> SweepSpec:
    """The spec of a sweep; `key=value` pairs override its `settings`, and `target.key=value` those of its target.

    Raises `EffaceError` for a file that is no spec, a setting that the grid varies and something else fixes, and
    where combinations are named that there are not.
    """
    settings = parse_pairs([pair for pair in pairs if not pair.startswith(_TARGET)], RunConfig)
    target = _target_pairs([pair.removeprefix(_TARGET) for pair in pairs if pair.startswith(_TARGET)])
    content = read_yaml(path)
    try:
        spec = validate_config(SweepSpec, content)
        changes = {"settings": merge_settings(spec.settings, settings)}
        if target:
            changes["target"] = merge_settings(spec.target or {}, target)
        spec = spec.model_copy(update=changes)
        _check(spec)
    except EffaceError as error:
        raise EffaceError(f"{path}: {error}") from error
    return spec


def combinations(spec: SweepSpec, *, target: str | None) -> tuple[Combination, ...]:
    """Every combination with its settings, resolved as those of `efface run`, the first key of the grid slowest.

    `target`: the model of those that name none. Raises `EffaceError` for settings that cannot be used, and says of
    which combination.
    """
    combinations = [dict(zip(spec.grid, values, strict=True)) for values in product(*spec.grid.values())]
    wanted = [each for each in combinations if not any(_are(each, excluded) for excluded in spec.exclude)]
    if not wanted:
        raise EffaceError("exclude: no combination is left; leave some in")
    return tuple(Combination(values, _resolved(spec, values, target)) for values in wanted)


def target_config(spec: SweepSpec) -> FinetuneConfig | None:
    """The settings of the target, resolved as those of `efface finetune`. Raises `EffaceError` as that does."""
    if spec.target is None:
        return None
    try:
        if "model" not in spec.target:
            raise EffaceError("model is required; give the model to fine-tune as target.model=MODEL")
        return resolve_config(FinetuneConfig, settings=spec.target)
    except EffaceError as error:
        raise EffaceError(f"target: {error}") from error


def evaluation_of(config: RunConfig) -> EvaluationConfig:
    """How the models of such a run are scored. Raises `EffaceError` for what only a run can be scored on."""
    if config.continual is not None:
        raise EffaceError(
            "baselines: a queue of requests is compared with the model before it alone; leave baselines out"
        )
    if config.data.retain == MODEL_ANSWERS:
        raise EffaceError(
            "baselines: with data.retain=model-answers a model is scored on its own answers, and others do not compare; give "
            "a retain file, or leave baselines out"
        )
    shared = EvaluationConfig.model_fields.keys() & RunConfig.model_fields.keys() - {SEED}
    values = {name: getattr(config, name) for name in shared}
    return EvaluationConfig(**{**values, "evaluate": without_epochs(config.evaluate)})


def _resolved(spec: SweepSpec, values: Mapping[str, Any], target: str | None) -> RunConfig:
    settings = merge_settings(spec.settings, nest_settings(values))
    for each in spec.overrides:
        if _are(values, each.where):
            settings = merge_settings(settings, nest_settings(each.settings))
    if target is not None:
        settings = {"model": target, **settings}
    try:
        config = resolve_config(RunConfig, settings=settings)
        if config.continual is not None and config.data.retain == MODEL_ANSWERS:
            raise EffaceError("continual with data.retain=model-answers is for efface run alone; give a retain file")
    except EffaceError as error:
        raise EffaceError(f"{combination_name(values)}: {error}" if values else str(error)) from error
    return config


def _target_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    try:
        return parse_pairs(pairs, FinetuneConfig)
    except EffaceError as error:
        raise EffaceError(f"target: {error}") from error


def _are(values: Mapping[str, Any], combinations: Mapping[str, Any]) -> bool:
    return all(values[key] == value for key, value in combinations.items())


def _check(spec: SweepSpec) -> None:
    known = (*dotted_keys(RunConfig), *PRESET_KEYS)
    for key in spec.grid:
        if key not in known:
            raise EffaceError(f"grid: unknown key {key!r}; {suggest(key, known)}")
        if _fixes(spec.settings, key, spec.grid[key]):
            raise EffaceError(f"{key} is in the grid and among the settings; leave it out of one of them")
    for excluded in spec.exclude:
        _check_combinations(spec, "exclude", excluded)
    for each in spec.overrides:
        _check_combinations(spec, "overrides", each.where)
        for key in spec.grid:
            if _fixes(nest_settings(each.settings), key, spec.grid[key]):
                raise EffaceError(
                    f"overrides: {key} is in the grid and in the settings of an override; leave it out of one of them"
                )


def _check_combinations(spec: SweepSpec, where: str, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if key not in spec.grid:
            raise EffaceError(f"{where}: {key} is not in the grid; {suggest(key, spec.grid)}")
        if value not in spec.grid[key]:
            there = ", ".join(map(display_value, spec.grid[key]))
            raise EffaceError(f"{where}: {key}={display_value(value)} is in no combination; the grid has {there}")


def _fixes(settings: Mapping[str, Any], key: str, values: Sequence[Any]) -> bool:
    """Whether nested settings say what the grid varies: only a group of settings lies beneath other ones."""
    found: Any = settings
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return False
        found = found[part]
    return not all(isinstance(each, Mapping) for each in (found, *values))
