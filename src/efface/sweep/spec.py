"""The YAML file of a sweep, and the settings of each of its runs. No torch."""

from __future__ import annotations

import math
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
from efface.renamed import renamed_to
from efface.sweep.run_key import without_epochs
from efface.sweep.table import SEED, combination_name, display_value

Baseline = Literal["retrained", "random"]
"""A model to compare runs with: the target fine-tuned without the forget set, or one with random weights."""

GridValues = Annotated[dict[str, Any], Field(min_length=1)]
"""Settings of the grid -> their values; matches the combinations that have all of these values."""

MAX_COMBINATIONS = 10_000
"""Of one grid, before `exclude`."""

_TARGET = "target."
"""Prefix of a setting of the target."""


class Override(FrozenModel):
    """Additional settings of some combinations."""

    where: GridValues
    """The combinations that these settings are for."""
    settings: dict[str, Any] = Field(min_length=1)
    """Settings as in a config file, nested or with dots."""


class SweepSpec(FrozenModel):
    """The contents of a sweep's YAML file."""

    target: dict[str, Any] | None = None
    """Settings of `efface finetune` for the model that runs without a `model` setting start from."""
    settings: dict[str, Any] = Field(default={})
    """Settings of every run, as in a config file."""
    grid: dict[str, list[Any]] = Field(default={})
    """Dotted setting -> its values. Every combination is a run; without a grid there is one run."""
    exclude: tuple[GridValues, ...] = ()
    """Combinations that are left out."""
    overrides: tuple[Override, ...] = ()
    """Applied in order, each over the settings and the grid."""
    baselines: tuple[Baseline, ...] = ()
    """Models to compare with, in addition to the model before unlearning."""
    keep_models: bool = False
    """Whether to keep the models of the runs; if not, only their scores and records stay."""

    @field_validator("grid", mode="before")
    @classmethod
    def _lists_of_values(cls, value: Any) -> Any:
        for key, values in value.items() if isinstance(value, dict) else ():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: {display_value(values)} is not a list of values; give one, such as [0, 1]")
        return value

    @field_validator("baselines")
    @classmethod
    def _without_duplicates(cls, value: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
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
    """Read the spec of a sweep.

    Args:
        path: The YAML file.
        pairs: `key=value` overrides `settings`, and `target.key=value` overrides `target`.

    Returns:
        The spec.

    Raises:
        EffaceError: The file is not a valid spec, a setting is both in the grid and set elsewhere, or a combination
            does not exist.
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
    """Resolve the settings of every combination as `efface run` does.

    Args:
        spec: The sweep.
        target: The model of runs without a `model` setting.

    Returns:
        The combinations; the first key of the grid changes slowest.

    Raises:
        EffaceError: Settings of a combination, which the message names, cannot be used, or there are more than
            `MAX_COMBINATIONS`.
    """
    count = math.prod(map(len, spec.grid.values()))
    if count > MAX_COMBINATIONS:
        raise EffaceError(
            f"grid: {count:,} combinations, the limit is {MAX_COMBINATIONS:,}; split the sweep into several"
        )
    products = [dict(zip(spec.grid, values, strict=True)) for values in product(*spec.grid.values())]
    included = [each for each in products if not any(_matches(each, excluded) for excluded in spec.exclude)]
    if not included:
        raise EffaceError("exclude: every combination is excluded; keep at least one")
    return tuple(Combination(values, _resolve(spec, values, target)) for values in included)


def target_config(spec: SweepSpec) -> FinetuneConfig | None:
    """Resolve the settings of the target as `efface finetune` does.

    Args:
        spec: The sweep.

    Returns:
        The settings; None where the sweep has no target.

    Raises:
        EffaceError: The settings cannot be used.
    """
    if spec.target is None:
        return None
    try:
        if "model" not in spec.target:
            raise EffaceError("model is required; give the model to fine-tune as target.model=MODEL")
        private = {"private": spec.settings["private"]} if "private" in spec.settings else {}
        return resolve_config(FinetuneConfig, settings={**private, **spec.target})
    except EffaceError as error:
        raise EffaceError(f"target: {error}") from error


def baseline_config(config: RunConfig) -> EvaluationConfig:
    """Make the settings that evaluate a baseline like the models of a run.

    Args:
        config: The run.

    Returns:
        The settings of `efface evaluate`, with the run's model.

    Raises:
        EffaceError: Baselines cannot be compared with this run.
    """
    if config.continual is not None:
        raise EffaceError(
            "baselines: a queue of requests can only be compared with the model before it; leave baselines out"
        )
    if config.data.retain == MODEL_ANSWERS:
        raise EffaceError(
            "baselines: with data.retain=model-answers every model is scored on its own answers, which cannot be "
            "compared; give a retain file, or leave baselines out"
        )
    shared = EvaluationConfig.model_fields.keys() & RunConfig.model_fields.keys() - {SEED}
    values = {name: getattr(config, name) for name in shared}
    return EvaluationConfig(**{**values, "evaluate": without_epochs(config.evaluate)})


def _resolve(spec: SweepSpec, values: Mapping[str, Any], target: str | None) -> RunConfig:
    settings = merge_settings(spec.settings, nest_settings(values))
    for each in spec.overrides:
        if _matches(values, each.where):
            settings = merge_settings(settings, nest_settings(each.settings))
    if target is not None:
        settings = {"model": target, **settings}
    try:
        config = resolve_config(RunConfig, settings=settings)
        if config.continual is not None and config.data.retain == MODEL_ANSWERS:
            raise EffaceError(
                "data.retain=model-answers: a sweep cannot run queues of requests with it; give a retain file"
            )
    except EffaceError as error:
        raise EffaceError(f"{combination_name(values)}: {error}" if values else str(error)) from error
    return config


def _target_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    try:
        return parse_pairs(pairs, FinetuneConfig)
    except EffaceError as error:
        raise EffaceError(f"target: {error}") from error


def _matches(values: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(values[key] == value for key, value in where.items())


def _check(spec: SweepSpec) -> None:
    known = (*dotted_keys(RunConfig), *PRESET_KEYS)
    for key in spec.grid:
        if new := renamed_to(key):
            raise EffaceError(f"grid: {key!r} is now called {new!r}")
        if key not in known:
            raise EffaceError(f"grid: unknown key {key!r}; {suggest(key, known)}")
        if _is_set(spec.settings, key, spec.grid[key]):
            raise EffaceError(f"{key} is both in the grid and in settings; remove it from one of them")
    for excluded in spec.exclude:
        _check_combinations(spec, "exclude", excluded)
    for each in spec.overrides:
        _check_combinations(spec, "overrides", each.where)
        for key in spec.grid:
            if _is_set(nest_settings(each.settings), key, spec.grid[key]):
                raise EffaceError(
                    f"overrides: {key} is both in the grid and in the settings of an override; remove it from one"
                )


def _check_combinations(spec: SweepSpec, where: str, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if new := renamed_to(key):
            raise EffaceError(f"{where}: {key!r} is now called {new!r}")
        if key not in spec.grid:
            raise EffaceError(f"{where}: {key} is not in the grid; {suggest(key, spec.grid)}")
        if value not in spec.grid[key]:
            values_in_grid = ", ".join(map(display_value, spec.grid[key]))
            raise EffaceError(f"{where}: {key}={display_value(value)} is not in the grid; it has {values_in_grid}")


def _is_set(settings: Mapping[str, Any], key: str, values: Sequence[Any]) -> bool:
    """Whether nested settings have a value that the grid would replace; groups of settings are merged instead."""
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return not all(isinstance(each, Mapping) for each in (value, *values))
