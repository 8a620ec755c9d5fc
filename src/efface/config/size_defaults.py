"""Settings by the size of the model and the method, found by searches. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from efface.text.sequence import Positions

PUBLISHED_LR = 1e-5
"""Of arXiv:2410.08109, for models of 7 billion parameters."""


@dataclass(frozen=True)
class SizeDefault:
    """Settings of training for models of about this size."""

    parameters: float
    lr: float
    forget_coeff: float
    epochs: int
    batch_size: int
    source: str
    """Where they were found."""
    methods: tuple[str, ...] = ()
    """With which they were measured; empty for all."""
    me_positions: Positions | None = None
    """`me.positions` with which they were found; None where the methods have no such setting, or its default."""

    @property
    def settings(self) -> dict[str, float | int | str]:
        """Dotted key of a setting -> value."""
        positions = {} if self.me_positions is None else {"me.positions": self.me_positions}
        return {
            "train.lr": self.lr,
            "forget_coeff": self.forget_coeff,
            "train.epochs": self.epochs,
            "train.batch_size": self.batch_size,
            **positions,
        }


_FACTS = (
    "the search on facts that SmolLM2-135M knew, with data.retain=model-answers data.known_facts=1190 "
    "(docs/reproduction.md)"
)
TABLE = (
    SizeDefault(1e6, 3e-4, 0.1, 20, 8, "the search of the demo's settings (docs/log.md)"),
    SizeDefault(135e6, 3e-5, 0.05, 8, 4, _FACTS, methods=("me+kl", "me+gd"), me_positions="answer"),
    SizeDefault(135e6, 1e-4, 0.2, 8, 4, _FACTS, methods=("idk+kl",)),
    SizeDefault(7e9, PUBLISHED_LR, 1.0, 5, 32, "published for models of 7 billion parameters (arXiv:2410.08109)"),
)
"""A row is added where a search was seen to forget and to keep the rest, with all settings of training that the search
had and that are not the defaults. Sizes and methods without a row keep the published settings, which are the
defaults."""
KEYS = tuple(dict.fromkeys(key for row in TABLE for key in row.settings))
"""Dotted keys of all settings that follow from the size of a model."""
_NEAR = 3
"""A row applies to models with up to this many times its parameters, and down to one part in this many."""


def default_for(parameters: int, method: str) -> SizeDefault | None:
    """The settings for models of this size; None where none were measured.

    Args:
        parameters: Of the model.
        method: Such as `me+gd`.
    """
    return next((each for each in _rows(method) if 1 / _NEAR <= parameters / each.parameters <= _NEAR), None)


def is_measured(source: str) -> bool:
    """Whether the source of a default is a row of `TABLE`, so that it was found on a model of about that size.

    Args:
        source: Of `SizeDefault`, or from `lr_source`.
    """
    return any(each.source == source for each in TABLE)


def lr_source(parameters: int) -> str:
    """Where the default of `train.lr` comes from, for a manifest.

    Args:
        parameters: Of the model.
    """
    published = TABLE[-1]
    if 1 / _NEAR <= parameters / published.parameters <= _NEAR:
        return published.source
    return (
        f"{published.source}, not measured for one of {format_count(parameters)}; efface tune finds the rate of a model"
    )


def format_count(parameters: int) -> str:
    """A number of parameters in words, such as `135 million`."""
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if parameters >= size:
            return f"{parameters / size:.3g} {word}"
    return str(parameters)


def starting_lr(parameters: int, method: str) -> float:
    """The learning rate from which a search starts: interpolated between the sizes of `TABLE`, in logarithms.

    Args:
        parameters: Of the model.
        method: Such as `me+gd`.
    """
    rows = _rows(method)
    smaller = max((each for each in rows if each.parameters <= parameters), key=_size, default=rows[0])
    larger = min((each for each in rows if each.parameters >= parameters), key=_size, default=rows[-1])
    if larger.parameters <= smaller.parameters:
        return larger.lr if parameters >= larger.parameters else smaller.lr
    share = math.log(parameters / smaller.parameters) / math.log(larger.parameters / smaller.parameters)
    return float(f"{smaller.lr * (larger.lr / smaller.lr) ** min(max(share, 0.0), 1.0):.1e}")


def _rows(method: str) -> list[SizeDefault]:
    """Those that hold for a method."""
    return [each for each in TABLE if not each.methods or method in each.methods]


def _size(each: SizeDefault) -> float:
    return each.parameters
