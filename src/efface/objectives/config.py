"""Methods by name and their settings. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Literal

from pydantic import Field

from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel
from efface.text.formatter import Positions

Average = Literal["tokens", "sequences", "padded"]
"""Divide by the tokens counted; by each sequence's tokens and then by the sequences; or, as the published code
does for ME, by all positions of rows padded to a fixed length."""
MEDirection = Literal["uniform_to_model", "model_to_uniform"]
KLDirection = Literal["reference_to_model", "model_to_reference"]

FORGET = ("ga", "npo", "dpo", "me", "idk")
RETAIN = ("gd", "kl", "ap")
LLMU = "llmu"


def methods(forget: Iterable[str], retain: Iterable[str]) -> tuple[str, ...]:
    """Every method of these objectives. A name without a plus only forgets: nothing holds what is to stay."""
    return (*(f"{f}+{r}" for f in forget for r in retain), LLMU, *forget)


METHODS = methods(FORGET, RETAIN)


class MEConfig(FrozenModel):
    """How the entropy loss is counted. The paper writes model_to_uniform; its code does uniform_to_model, padded."""

    average: Average = "tokens"
    direction: MEDirection = "uniform_to_model"
    positions: Positions = "all"
    padded_length: int = Field(default=500, gt=1)
    """Row length of `average: padded`: 500 in the published TOFU runs, 300 in the real-world ones."""


class KLConfig(FrozenModel):
    """How the KL to the reference is counted."""

    positions: Positions = "answer"
    direction: KLDirection = "reference_to_model"


class ObjectiveConfig(FrozenModel):
    """A method's settings; the defaults are the paper's, where it names them."""

    beta: float = Field(default=0.1, gt=0)
    forget_coeff: float = Field(default=1.0, ge=0)
    retain_coeff: float = Field(default=1.0, ge=0)
    me: MEConfig = MEConfig()
    kl: KLConfig = KLConfig()


def plain_method(name: str) -> str:
    """A method's name in lower case and without spaces, known or not."""
    return name.lower().replace(" ", "")


def check_method(name: str, *, forget: Iterable[str] = (), retain: Iterable[str] = ()) -> str:
    """The method's plain name; `forget` and `retain` name the user's own objectives.

    Raises `EffaceError` for an unknown one.
    """
    method, known = plain_method(name), methods(tuple(chain(FORGET, forget)), tuple(chain(RETAIN, retain)))
    if method not in known:
        raise EffaceError(f"unknown method {name!r}; {suggest(method, known)}")
    return method
