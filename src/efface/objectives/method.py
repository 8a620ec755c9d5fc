"""Methods by name, their settings, and the objective that both make."""

from __future__ import annotations

from functools import partial

from pydantic import BaseModel, ConfigDict, Field

from efface.errors import EffaceError, nearest
from efface.objectives import forget, retain
from efface.objectives.terms import Average, DistributionTerm, Objective, SequenceTerm, Term, TokenTerm
from efface.text.packing import Positions

FORGET = ("ga", "npo", "dpo", "me", "idk")
RETAIN = ("gd", "kl", "ap")
METHODS = (*(f"{f}+{r}" for f in FORGET for r in RETAIN), "llmu")


class MEConfig(BaseModel):
    """How the entropy loss is counted; `objectives.md` says what paper and published code do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    average: Average = "tokens"
    direction: forget.MEDirection = "uniform_to_model"
    positions: Positions = "all"
    padded_length: int = Field(default=500, gt=1)
    """Row length of `average: padded`: 500 in the published TOFU runs, 300 in the real-world ones."""


class KLConfig(BaseModel):
    """How the KL to the reference is counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    positions: Positions = "answer"
    direction: retain.KLDirection = "reference_to_model"


class ObjectiveConfig(BaseModel):
    """A method's settings; the defaults are the paper's, where it names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beta: float = Field(default=0.1, gt=0)
    forget_coeff: float = Field(default=1.0, ge=0)
    retain_coeff: float = Field(default=1.0, ge=0)
    me: MEConfig = MEConfig()
    kl: KLConfig = KLConfig()


def check_method(name: str) -> str:
    """The method's name in lower case; raises `EffaceError` for an unknown one."""
    method = name.lower().replace(" ", "")
    if method not in METHODS:
        raise EffaceError(f"unknown method {name!r}; {nearest(method, METHODS)}")
    return method


def objective(method: str, config: ObjectiveConfig) -> Objective:
    """The objective of a method such as `me+gd`, `idk+ap` or `llmu`."""
    method = check_method(method)
    if method == "llmu":
        forget_term = _forget_term("ga", config)
        retain_terms: tuple[Term, ...] = (TokenTerm("forget_mismatch", retain.gd), _retain_term("kl", config))
    else:
        forget_name, retain_name = method.split("+")
        forget_term = _forget_term(forget_name, config)
        retain_terms = (_retain_term(retain_name, config),)
    return Objective(
        name=method,
        forget=(forget_term,),
        retain=retain_terms,
        forget_coeff=config.forget_coeff,
        retain_coeff=config.retain_coeff,
    )


def fine_tuning() -> Objective:
    """Plain cross-entropy on answers: how target models are made."""
    return Objective(name="finetune", forget=(), retain=(TokenTerm("retain", retain.gd),))


def _forget_term(name: str, config: ObjectiveConfig) -> Term:
    match name:
        case "ga":
            return TokenTerm("forget", forget.ga)
        case "npo":
            return SequenceTerm(("forget",), partial(forget.npo, beta=config.beta), reference=True)
        case "dpo":
            return SequenceTerm(("forget_idk", "forget"), partial(forget.dpo, beta=config.beta), reference=True)
        case "me":
            return DistributionTerm(
                "forget",
                partial(forget.me, direction=config.me.direction),
                positions=config.me.positions,
                reference=False,
                average=config.me.average,
                padded_length=config.me.padded_length,
            )
        case "idk":
            return TokenTerm("forget_idk", forget.idk)
    raise AssertionError(name)


def _retain_term(name: str, config: ObjectiveConfig) -> Term:
    match name:
        case "gd":
            return TokenTerm("retain", retain.gd)
        case "kl":
            loss = partial(retain.kl, direction=config.kl.direction)
            return DistributionTerm("retain", loss, positions=config.kl.positions, reference=True)
        case "ap":
            return SequenceTerm(("retain_idk", "retain"), partial(retain.ap, beta=config.beta), reference=False)
    raise AssertionError(name)
