"""From the name of a method and its settings to its objective."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from efface.objectives import forget, retain
from efface.objectives.config import LLMU, ObjectiveConfig, check_method
from efface.objectives.custom import CustomObjective, ForgetObjective, RetainObjective, custom_term
from efface.objectives.terms import DistributionTerm, Objective, SequenceTerm, Term, TokenTerm

_PUBLISHED_FLOOR = 1e-12
"""What the published code of ME adds to each probability."""


def objective(method: str, config: ObjectiveConfig, custom: Sequence[CustomObjective] = ()) -> Objective:
    """Build the objective of a method such as `me+gd`, `idk+ap` or `llmu`; `me` alone has no retain loss.

    Args:
        method: the name; case and spaces do not matter.
        config: the settings of the losses.
        custom: custom objectives that `method` may name too.

    Raises:
        EffaceError: the method is unknown, or the term of a custom objective cannot be used.
    """
    custom_forget = {each.name: each for each in custom if isinstance(each, ForgetObjective)}
    custom_retain = {each.name: each for each in custom if isinstance(each, RetainObjective)}
    method = check_method(method, forget=custom_forget, retain=custom_retain)
    forget_name, _, retain_name = method.partition("+")
    retain_terms: tuple[Term, ...] = ()
    if method == LLMU:
        forget_term = _forget_term("ga", config)
        retain_terms = (TokenTerm("forget_mismatch", retain.gd), _retain_term("kl", config))
    elif forget_name in custom_forget:
        forget_term = custom_term(custom_forget[forget_name], config)
    else:
        forget_term = _forget_term(forget_name, config)
    if retain_name in custom_retain:
        retain_terms = (custom_term(custom_retain[retain_name], config),)
    elif retain_name:
        retain_terms = (_retain_term(retain_name, config),)
    return Objective(
        name=method,
        forget=(forget_term,),
        retain=retain_terms,
        forget_coeff=config.forget_coeff,
        retain_coeff=config.retain_coeff,
    )


def fine_tuning() -> Objective:
    """Build the objective of fine-tuning: cross-entropy of answers, as target models are trained."""
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
            padded = config.me.average == "padded"
            return DistributionTerm(
                "forget",
                partial(forget.me, direction=config.me.direction, floor=_PUBLISHED_FLOOR if padded else 0.0),
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
            return DistributionTerm(
                "retain",
                loss,
                positions=config.kl.positions,
                reference=True,
                average=config.kl.average,
                padded_length=config.kl.padded_length,
                last_position=True,
            )
        case "ap":
            return SequenceTerm(("retain_idk", "retain"), partial(retain.ap, beta=config.beta), reference=False)
    raise AssertionError(name)
