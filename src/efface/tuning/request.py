"""The request for a search: settings to start from, the bound, and how long to search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efface.config.commands import RunConfig
from efface.config.parse import read_yaml
from efface.config.presets import preset_names
from efface.config.resolve import resolve_config
from efface.data.config import MODEL_ANSWERS
from efface.errors import EffaceError
from efface.scores import definition
from efface.tuning.space import SearchSpace, read_space

DEFAULT_METHODS = ("me+gd", "idk+ap")
"""Where there is a retain set: the two that arXiv:2410.08109 recommends."""
WITHOUT_RETAIN_SET = ("me+kl", "idk+kl")
"""With `data.retain=model-answers`: of the methods that kept nine tenths of other facts, the two that left the fewest
answers of what SmolLM2-135M knew about three people (docs/reproduction.md)."""


@dataclass(frozen=True)
class Tuning:
    """The request for a search."""

    bases: Mapping[str, RunConfig]
    """Method -> settings to start from."""
    keep: float
    """Share of the utility that must be kept."""
    minutes: float | None
    trials: int | None
    space: SearchSpace | None
    """What is searched; None for the default."""
    methods_given: bool = True
    """Whether the user named the methods; default ones are left out where the data does not fit them."""

    @property
    def base(self) -> RunConfig:
        """The settings of the first method."""
        return next(iter(self.bases.values()))


def tuning_of(
    source: str | None,
    pairs: Sequence[str],
    *,
    keep: float,
    settings: Mapping[str, Any] | None = None,
    methods: Sequence[str] = (),
    minutes: float | None = None,
    trials: int | None = None,
    space: Path | Mapping[str, Any] | None = None,
) -> Tuning:
    """Resolve a request.

    Args:
        source: Name of a preset, or path of a config file.
        pairs: Settings such as `model=MODEL`.
        keep: Share of the utility that must be kept.
        settings: Settings from Python.
        methods: To choose from; by default the one in the settings, or the two for the kind of retain set, as far as
            the data fits them.
        minutes: Of this search; None for no limit.
        trials: Of the whole study; None for the default.
        space: What is searched, or a file with it; None for the default.

    Raises:
        EffaceError: A setting is unknown or has no such value, or cannot be searched, or the method is given twice.
    """
    given = _given_method(source, pairs, settings or {})
    if given is not None and methods:
        raise EffaceError(f"--methods {','.join(methods)} and method={given} both name the method; give one of the two")

    def with_method(name: str) -> RunConfig:
        return resolve_config(RunConfig, source, [*pairs, f"method={name}"], settings=settings)

    named = [*dict.fromkeys(methods)] or ([] if given is None else [given])
    names = named or [*_methods_for(with_method(DEFAULT_METHODS[0]))]
    bases = {}
    for name in names:
        config = with_method(name)
        evaluate = config.evaluate.model_copy(update={"every": None, "select_epoch": "last"})
        train = config.train.model_copy(update={"stop_after": None})  # every epoch is a candidate
        bases[config.method] = config.model_copy(update={"evaluate": evaluate, "train": train, "downstream": None})
    searched = None if space is None else read_space(space, next(iter(bases.values())), [*bases])
    tuning = Tuning(bases=bases, keep=keep, minutes=minutes, trials=trials, space=searched, methods_given=bool(named))
    check_tuning(tuning)
    return tuning


def _methods_for(config: RunConfig) -> tuple[str, ...]:
    """What is tried for the retain set of these settings."""
    return WITHOUT_RETAIN_SET if config.data.retain == MODEL_ANSWERS else DEFAULT_METHODS


def _given_method(source: str | None, pairs: Sequence[str], settings: Mapping[str, Any]) -> str | None:
    """The method that the settings name; a preset names none."""
    named = [pair.partition("=")[2] for pair in pairs if pair.startswith("method=")]
    in_file = {} if source is None or source in preset_names() else read_yaml(Path(source))
    found = [*named[-1:], settings.get("method"), in_file.get("method")]
    return next((str(each) for each in found if each), None)


def check_tuning(tuning: Tuning) -> None:
    """Check what needs neither data nor a model.

    Raises:
        EffaceError: The bound, the budget or the settings cannot be used.
    """
    base = tuning.base
    if not 0 < tuning.keep <= 1:
        raise EffaceError(
            f"--keep {tuning.keep:g} is not a share of the utility; give a number from 0 to 1, such as 0.95"
        )
    if tuning.minutes is not None and tuning.trials is not None:
        raise EffaceError("--minutes and --trials both end the search; give one of the two")
    if base.continual is not None:
        raise EffaceError("continual lists several requests, and a search takes one; leave continual out")
    if base.keep is not None:
        raise EffaceError("keep= is a setting of efface run; give the bound of a search as --keep")
    if not definition(base.definition).efficacy_metrics:
        raise EffaceError(
            f"definition={base.definition} has no forget efficacy to search for; use closer-look or paper"
        )
