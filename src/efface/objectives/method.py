"""From the name of a method and its settings to its objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from efface.errors import EffaceError
from efface.objectives import forget, retain
from efface.objectives.config import LLMU, ObjectiveConfig, RMUConfig, check_method
from efface.objectives.custom import CustomObjective, ForgetObjective, RetainObjective, custom_term
from efface.objectives.terms import DistributionTerm, Objective, SequenceTerm, StateTerm, Term, TokenTerm
from efface.packing.layers import LayerPositions

_PUBLISHED_FLOOR = 1e-12
"""What the published code of ME adds to each probability."""


def objective(
    method: str, config: ObjectiveConfig, custom: Sequence[CustomObjective] = (), *, seed: int = 0
) -> Objective:
    """Build the objective of a method such as `me+gd`, `idk+ap` or `llmu`; `me` alone has no retain loss.

    Args:
        method: the name; case and spaces do not matter.
        config: the settings of the losses.
        custom: custom objectives that `method` may name too.
        seed: decides what a loss draws once for the whole training: the control vector of RMU.

    Raises:
        EffaceError: the method is unknown, or the term of a custom objective cannot be used.
    """
    custom_forget = {each.name: each for each in custom if isinstance(each, ForgetObjective)}
    custom_retain = {each.name: each for each in custom if isinstance(each, RetainObjective)}
    method = check_method(method, forget=custom_forget, retain=custom_retain)
    forget_name, _, retain_name = method.partition("+")
    retain_terms: tuple[Term, ...] = ()
    if method == LLMU:
        forget_term = _FORGET_TERMS["ga"](config)
        retain_terms = (TokenTerm("forget_mismatch", retain.gd), _RETAIN_TERMS["kl"](config))
    elif forget_name in custom_forget:
        forget_term = custom_term(custom_forget[forget_name], config)
    else:
        forget_term = _rmu(config, seed) if forget_name == "rmu" else _FORGET_TERMS[forget_name](config)
    if retain_name in custom_retain:
        retain_terms = (custom_term(custom_retain[retain_name], config),)
    elif retain_name:
        retain_terms = (_RETAIN_TERMS[retain_name](config),)
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


def _me(config: ObjectiveConfig) -> Term:
    padded = config.me.average == "padded"
    return DistributionTerm(
        "forget",
        partial(forget.me, direction=config.me.direction, floor=_PUBLISHED_FLOOR if padded else 0.0),
        positions=config.me.positions,
        reference=False,
        average=config.me.average,
        padded_length=config.me.padded_length,
    )


def _kl(config: ObjectiveConfig) -> Term:
    return DistributionTerm(
        "retain",
        partial(retain.kl, direction=config.kl.direction),
        positions=config.kl.positions,
        reference=True,
        average=config.kl.average,
        padded_length=config.kl.padded_length,
        last_position=True,
    )


def _simnpo(config: ObjectiveConfig) -> Term:
    loss = partial(forget.simnpo, beta=config.simnpo.beta, delta=config.simnpo.delta)
    return SequenceTerm(("forget",), loss, reference=False, lengths=True)


def _ceu(config: ObjectiveConfig) -> Term:
    skip = config.ceu.ignore_first_n_answer_tokens
    return DistributionTerm("forget", forget.ceu, positions="answer", reference=False, targets=True, skip=skip)


def _undial(config: ObjectiveConfig) -> Term:
    loss = partial(forget.undial, beta=config.undial.beta)
    return DistributionTerm("forget", loss, positions="answer", reference=True, targets=True)


def _jensun(config: ObjectiveConfig) -> Term:
    target = None if config.jensun.target == "refusal" else config.jensun.target
    return DistributionTerm(
        "forget", forget.jensun, positions="answer", reference=False, repeated="forget_idk", repeated_text=target
    )


def _pdu(config: ObjectiveConfig) -> Term:
    own = config.pdu.positions == "predicted"
    return DistributionTerm("forget", forget.pdu, positions="answer", reference=False, own=own)


def _rmu(config: ObjectiveConfig, seed: int) -> Term:
    rmu = config.rmu
    reads = LayerPositions(rmu.layer, rmu.positions)
    return StateTerm("forget", _misdirection(rmu, seed), reads, reference=False, average=rmu.average)


def _misdirection(config: RMUConfig, seed: int) -> Callable[[Tensor], Tensor]:
    """The loss of RMU. Its control vector is drawn once the number of hidden units is known, always the same."""

    @cache
    def control(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        given = config.control_vector
        if given is None:
            return forget.control_vector(size, length=config.steering_coeff, seed=seed).to(device, dtype)
        if len(given) != size:
            raise EffaceError(
                f"rmu.control_vector has {len(given)} numbers, and the model {size} hidden units; give one for each"
            )
        return torch.tensor(given, dtype=dtype, device=device)

    def loss(states_NH: Tensor) -> Tensor:
        return forget.rmu(states_NH, control_H=control(states_NH.shape[-1], states_NH.device, states_NH.dtype))

    return loss


def _embed(config: ObjectiveConfig) -> Term:
    embed = config.embed
    reads = LayerPositions(config.rmu.layer if embed.layer is None else embed.layer, embed.positions)
    return StateTerm("retain", retain.embed, reads, reference=True, average=embed.average)


_FORGET_TERMS: Mapping[str, Callable[[ObjectiveConfig], Term]] = {
    "ga": lambda _: TokenTerm("forget", forget.ga),
    "npo": lambda config: SequenceTerm(("forget",), partial(forget.npo, beta=config.beta), reference=True),
    "dpo": lambda config: SequenceTerm(("forget_idk", "forget"), partial(forget.dpo, beta=config.beta), reference=True),
    "me": _me,
    "idk": lambda _: TokenTerm("forget_idk", forget.idk),
    "simnpo": _simnpo,
    "wga": lambda config: TokenTerm("forget", partial(forget.wga, **config.wga.model_dump())),
    "satimp": lambda config: TokenTerm("forget", partial(forget.satimp, **config.satimp.model_dump())),
    "ceu": _ceu,
    "undial": _undial,
    "pdu": _pdu,
    "jensun": _jensun,
    "altpo": lambda config: SequenceTerm(
        ("forget_alternate", "forget"), partial(forget.dpo, beta=config.beta), reference=True
    ),
}
"""By name, all but `rmu`, which draws from the seed."""

_RETAIN_TERMS: Mapping[str, Callable[[ObjectiveConfig], Term]] = {
    "gd": lambda _: TokenTerm("retain", retain.gd),
    "kl": _kl,
    "ap": lambda config: SequenceTerm(("retain_idk", "retain"), partial(retain.ap, beta=config.beta), reference=False),
    "jsd": lambda _: DistributionTerm("retain", retain.jsd, positions="answer", reference=True),
    "embed": _embed,
}
