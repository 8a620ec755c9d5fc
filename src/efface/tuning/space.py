"""What a search may change: the range or the choices of each setting. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError, model_validator

from efface.config.commands import RunConfig
from efface.config.parse import dotted_keys, merge_settings, nest_settings, read_yaml, validate_config
from efface.config.size_defaults import starting_lr
from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel
from efface.train.config import TrainConfig

if TYPE_CHECKING:
    import optuna

METHOD = "method"
_SEARCHABLE = ("method", "forget_coeff", "retain_coeff", "beta", "me", "kl", "train")
"""Settings, and groups of them, that change training; all others change what is measured, or what is forgotten."""
_NOT_SEARCHED = ("train.stop_after", "train.watch", "train.tracker")
_MAX_CHOICES = 1_000
_BATCH_SIZES = (4, 8, 16, 32)
_MOST_EPOCHS = 20
"""SmolLM2-135M needed 15 to forget authors of TOFU (docs/reproduction.md); a training has a candidate after each."""


class Range(FrozenModel):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Whether equal ratios count alike, not equal differences."""

    @model_validator(mode="after")
    def _check(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low={self.low:g} must be less than high={self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low:g} must be greater than 0 where log is true")
        return self


Dimension = Range | tuple[Any, ...]
"""A range, or a list of values to choose from."""
SearchSpace = Mapping[str, Dimension]
"""Dotted key of a setting -> what is tried for it."""


def default_space(bases: Mapping[str, RunConfig], *, items: int, parameters: int) -> dict[str, Dimension]:
    """What is searched without `--space`.

    Learning rate and forget coefficient over two powers of ten around a start, the number of epochs, the batch size,
    and the method where there are several.

    Args:
        bases: Method -> settings to start from.
        items: Number of forget items.
        parameters: Of the model; decides the start of the learning rate where none is set.
    """
    base = next(iter(bases.values()))
    lr = start_lr(base, parameters)
    epochs = Range(low=max(2, base.train.epochs // 4), high=max(_MOST_EPOCHS, base.train.epochs), log=True)
    sizes = sorted({size for size in _BATCH_SIZES if size <= items} | {min(base.train.batch_size, items)})
    return {
        **({METHOD: tuple(bases)} if len(bases) > 1 else {}),
        "train.lr": Range(low=float(f"{lr / 10:.6g}"), high=float(f"{lr * 10:.6g}"), log=True),
        "forget_coeff": Range(low=0.03, high=3, log=True),
        **({"train.epochs": epochs} if base.train.max_steps is None else {}),
        **({"train.batch_size": tuple(sizes)} if len(sizes) > 1 else {}),
    }


def start_lr(base: RunConfig, parameters: int) -> float:
    """The learning rate to start from: that of the settings, or where they leave the default one for the model's size.

    Args:
        base: The settings.
        parameters: Of the model.
    """
    return starting_lr(parameters, base.method) if base.train.lr == TrainConfig().lr else base.train.lr


def read_space(given: Path | Mapping[str, Any], base: RunConfig, methods: Sequence[str]) -> dict[str, Dimension]:
    """Read what is searched: dotted key -> `{low: 1e-5, high: 1e-3, log: true}`, or a list of values.

    Args:
        given: A YAML file, or its content.
        base: Settings of all trials, with which each end of a range and each value must be valid.
        methods: What is tried where the file does not list `method`.

    Returns:
        What is searched.

    Raises:
        EffaceError: A key is unknown or cannot be searched, or a value is not allowed.
    """
    where = f"--space {given}" if isinstance(given, Path) else "space"
    content = read_yaml(given) if isinstance(given, Path) else given
    if not content:
        raise EffaceError(f"{where} names no setting; write one such as `train.lr: {{low: 1e-5, high: 1e-3}}`")
    space = {key: _dimension(where, key, value) for key, value in content.items()}
    for key, dimension in space.items():
        ends = (dimension.low, dimension.high) if isinstance(dimension, Range) else dimension
        for value in ends:
            whole = _is_whole(key) and isinstance(dimension, Range)
            try:
                apply({base.method: base}, {key: int(value) if whole else value})
            except EffaceError as error:
                raise EffaceError(f"{where}: {error}") from error
    return {**({METHOD: tuple(methods)} if len(methods) > 1 and METHOD not in space else {}), **space}


def suggest_values(trial: optuna.Trial, space: SearchSpace) -> dict[str, Any]:
    """Ask the sampler for the settings of a trial.

    Args:
        trial: The trial.
        space: What is searched.

    Returns:
        Dotted key -> value.
    """
    return {key: _suggest(trial, key, dimension) for key, dimension in space.items()}


def starts(bases: Mapping[str, RunConfig], space: SearchSpace, parameters: int) -> list[dict[str, Any]]:
    """The points that are tried first, one for each method: the settings as they are, within the space.

    Args:
        bases: Method -> settings to start from.
        space: What is searched.
        parameters: Of the model.
    """
    points = []
    for method, base in bases.items():
        values = {METHOD: method, "train.lr": start_lr(base, parameters)}
        points.append({key: _nearest(each, values.get(key, _get(base, key)), key) for key, each in space.items()})
    return points


def apply(bases: Mapping[str, RunConfig], values: Mapping[str, Any]) -> RunConfig:
    """The settings of a trial.

    Args:
        bases: Method -> settings to start from.
        values: Searched setting -> value.

    Raises:
        EffaceError: They are not valid together.
    """
    base = bases.get(values.get(METHOD, ""), next(iter(bases.values())))
    return validate_config(RunConfig, merge_settings(base.model_dump(mode="json"), nest_settings(values)))


def describe(space: SearchSpace) -> dict[str, Any]:
    """The space as JSON."""
    return {key: each.model_dump() if isinstance(each, Range) else list(each) for key, each in space.items()}


def _dimension(where: str, key: str, value: Any) -> Dimension:
    keys = [each for each in dotted_keys(RunConfig) if each.split(".")[0] in _SEARCHABLE and each not in _NOT_SEARCHED]
    if key not in keys:
        raise EffaceError(f"{where}: {key!r} is not a setting that can be searched; {suggest(key, keys)}")
    if isinstance(value, list) and value and len(value) <= _MAX_CHOICES:
        if not all(isinstance(each, str | int | float | bool) for each in value):
            raise EffaceError(f"{where}: {key} has a choice that is neither a number nor a word; remove it")
        return tuple(value)
    try:
        return Range.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise EffaceError(
            f"{where}: {key} is neither a list of values nor a range ({reason}); write [1, 2], or "
            "{low: 1, high: 2, log: true}"
        ) from None


def _suggest(trial: optuna.Trial, key: str, dimension: Dimension) -> Any:
    if not isinstance(dimension, Range):
        return trial.suggest_categorical(key, list(dimension))
    if _is_whole(key):
        return trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)


def _nearest(dimension: Dimension, value: Any, key: str) -> Any:
    if not isinstance(dimension, Range):
        return value if value in dimension else dimension[0]
    number = min(max(value if isinstance(value, int | float) else dimension.low, dimension.low), dimension.high)
    return int(number) if _is_whole(key) else float(number)


def _is_whole(key: str) -> bool:
    annotation = dotted_keys(RunConfig)[key]
    types = {annotation, *get_args(annotation)}
    return int in types and float not in types


def _get(base: RunConfig, key: str) -> Any:
    value: Any = base
    for part in key.split("."):
        value = getattr(value, part, None)
    return value
