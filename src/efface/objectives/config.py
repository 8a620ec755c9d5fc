"""The names of the methods, and their settings. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Literal

from pydantic import Field

from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel
from efface.text.sequence import Positions

Average = Literal["tokens", "sequences", "padded"]
"""How a loss is averaged: over all tokens; over the tokens of each sequence and then over sequences; or, as in the
published code of ME, over all positions of rows padded to a fixed length."""
MEDirection = Literal["uniform_to_model", "model_to_uniform"]
KLDirection = Literal["reference_to_model", "model_to_reference"]

FORGET = ("ga", "npo", "dpo", "me", "idk")
RETAIN = ("gd", "kl", "ap")
LLMU = "llmu"


def methods(forget: Iterable[str], retain: Iterable[str]) -> tuple[str, ...]:
    """Combine forget and retain objectives to method names, such as `me+gd`, `llmu`, or `me` without a retain loss."""
    return (*(f"{f}+{r}" for f in forget for r in retain), LLMU, *forget)


METHODS = methods(FORGET, RETAIN)


class MEConfig(FrozenModel):
    """The entropy loss. The paper uses model_to_uniform; its published code uses uniform_to_model, padded."""

    average: Average = "tokens"
    direction: MEDirection = "uniform_to_model"
    positions: Positions = "all"
    padded_length: int = Field(default=500, gt=1)
    """Row length in tokens of `average: padded`: 500 in the published TOFU runs, 300 in the real-world runs."""


class KLConfig(FrozenModel):
    """The KL divergence to the reference model."""

    positions: Positions = "answer"
    direction: KLDirection = "reference_to_model"


class ObjectiveConfig(FrozenModel):
    """The settings of a method; the defaults are those of the paper, if it reports them."""

    beta: float = Field(default=0.1, gt=0)
    forget_coeff: float = Field(default=1.0, ge=0)
    retain_coeff: float = Field(default=1.0, ge=0)
    me: MEConfig = MEConfig()
    kl: KLConfig = KLConfig()


def plain_method(name: str) -> str:
    """Return the name of a method, known or not, in lower case and without spaces."""
    return name.lower().replace(" ", "")


def check_method(name: str, *, forget: Iterable[str] = (), retain: Iterable[str] = ()) -> str:
    """Normalize the name of a method.

    Args:
        name: such as `me+gd`; case and spaces do not matter.
        forget: names of custom forget objectives.
        retain: names of custom retain objectives.

    Raises:
        EffaceError: the method is unknown.
    """
    method, known = plain_method(name), methods(tuple(chain(FORGET, forget)), tuple(chain(RETAIN, retain)))
    if method not in known:
        raise EffaceError(f"unknown method {name!r}; {suggest(method, known)}")
    return method
