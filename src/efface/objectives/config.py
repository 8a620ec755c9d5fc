"""The names of the methods, and their settings. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel
from efface.text.sequence import Positions

Average = Literal["tokens", "sequences", "padded"]
"""How a loss is averaged: over all tokens; over the tokens of each sequence and then over sequences; or, as in the
published code of ME and KL, over all positions of rows padded to a fixed length, with the losses of the padding."""
MEDirection = Literal["uniform_to_model", "model_to_uniform"]
KLDirection = Literal["reference_to_model", "model_to_reference"]

StateAverage = Literal["tokens", "sequences", "broadcast"]
"""How a loss of hidden states is averaged: over all tokens; over the tokens of each sequence and then over sequences;
or, as in open-unlearning's RMU, as the mean over sequences of their sums times the mean over sequences of 1 / length,
which is that of sequences only where all are equally long."""

FORGET = (
    *("ga", "npo", "dpo", "me", "idk"),
    *("simnpo", "wga", "satimp", "ceu", "undial", "pdu", "rmu", "jensun", "altpo"),
)
RETAIN = ("gd", "kl", "ap", "jsd", "embed")
LLMU = "llmu"


OTHER_NAMES = {
    "grad_ascent": "ga",
    "gradient_ascent": "ga",
    "gradascent": "ga",
    "grad_diff": "ga+gd",
    "gradient_difference": "ga+gd",
    "gradient_diff": "ga+gd",
    "graddiff": "ga+gd",
    "kl_min": "ga+kl",
    "klmin": "ga+kl",
    "max_entropy": "me",
    "maximum_entropy": "me",
    "entropy": "me",
    "preference_optimization": "idk",
    "po": "idk",
    "idk_dpo": "dpo",
    "i_don't_know": "idk",
}
"""Names of methods in papers and other libraries -> the name here."""


def methods(forget: Iterable[str], retain: Iterable[str]) -> tuple[str, ...]:
    """Combine forget and retain objectives to method names, such as `me+gd`, `llmu`, or `me` without a retain loss.

    Args:
        forget: names of forget objectives.
        retain: names of retain objectives.

    Returns:
        Each pair, then `llmu`, then each forget objective alone.
    """
    return (*(f"{f}+{r}" for f in forget for r in retain), LLMU, *forget)


METHODS = methods(FORGET, RETAIN)
PAPER_METHODS = methods(FORGET[:5], RETAIN[:3])
"""Those of arXiv:2410.08109 and of the baselines compared there."""


class PaddableConfig(FrozenModel):
    """A loss over whole distributions, which may be averaged over padded rows."""

    average: Average = "tokens"
    """How the loss is averaged: over all tokens; over the tokens of each sequence and then over sequences; or over all
    positions of padded rows, as published. `padded` reads every position of the row, and so needs `positions: all`,
    which it sets by itself."""
    positions: Positions
    """Which positions of a sequence the loss reads: those of the answer, or all of them."""
    padded_length: int = Field(default=500, gt=1)
    """Row length in tokens of `average: padded`: 500 in the published TOFU runs, 300 in the real-world runs."""

    @model_validator(mode="before")
    @classmethod
    def _all_positions_of_rows(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("average") == "padded":
            return {"positions": "all", **values}
        return values

    @model_validator(mode="after")
    def _check_positions(self) -> Self:
        if self.average == "padded" and self.positions != "all":
            raise ValueError(
                f"average=padded reads every position of a row, and positions={self.positions} only some; leave "
                "positions out, or choose average=tokens"
            )
        return self


class MEConfig(PaddableConfig):
    """The entropy loss. The paper uses model_to_uniform; its published code uses uniform_to_model, padded."""

    direction: MEDirection = "uniform_to_model"
    """Direction of the KL divergence between the model's distribution and the uniform one: `model_to_uniform` as in the
    paper, `uniform_to_model` as in its published code."""
    positions: Positions = "all"
    """Which positions of a sequence the loss reads: those of the answer, or all of them."""


class KLConfig(PaddableConfig):
    """The KL divergence to the reference model."""

    positions: Positions = "answer"
    """Which positions of a sequence the loss reads: those of the answer, or all of them."""
    direction: KLDirection = "reference_to_model"
    """Direction of the KL divergence between the reference model and the model."""


class SimNPOConfig(FrozenModel):
    """SimNPO; the defaults are those of open-unlearning. The paper's gamma is beta times delta."""

    beta: float = Field(default=4.5, gt=0)
    """Inverse temperature; with a smaller one, the gradient of an answer falls more slowly as it is forgotten."""
    delta: float = 0.0
    """The mean negative log-probability of an answer's tokens from which on its gradient falls."""


class WGAConfig(FrozenModel):
    """WGA: the weight of an answer token is its probability to the power `beta`."""

    beta: float = Field(default=1.0, ge=0)
    """Exponent of the probability in the weight: the higher, the less tokens that are unlikely already count."""


class SatImpConfig(FrozenModel):
    """SatImp: the weight of an answer token of probability p is p^beta1 (1 - p)^beta2."""

    beta1: float = Field(default=5.0, ge=0)
    """Exponent of p: the higher, the less tokens that are unlikely already count."""
    beta2: float = Field(default=1.0, ge=0)
    """Exponent of 1 - p: the higher, the less tokens that are almost certain count."""


class CEUConfig(FrozenModel):
    """CE-U."""

    ignore_first_n_answer_tokens: int = Field(default=1, ge=0)
    """How many tokens at the start of each answer do not count: they often only repeat the question."""


class UNDIALConfig(FrozenModel):
    """UNDIAL: how far the reference's logit of each answer token is lowered."""

    beta: float = Field(default=10.0, ge=0)
    """By how much the logit is lowered."""


class PDUConfig(FrozenModel):
    """PDU's logit flattening."""

    positions: Literal["predicting", "predicted"] = "predicting"
    """`predicting`: where the answer's tokens are predicted. `predicted`: at the answer's tokens themselves, one
    position later, as in open-unlearning."""


class RMUConfig(FrozenModel):
    """RMU: which layer's output is moved, and where to."""

    layer: int = Field(default=7, ge=0)
    """The decoder layer whose output it reads, counted from 0."""
    steering_coeff: float = Field(default=2.0, gt=0)
    """The length of the control vector."""
    control_vector: tuple[float, ...] | None = None
    """The vector itself, one number for each hidden unit. Default: drawn from the run's seed."""
    positions: Positions = "answer"
    """The tokens whose hidden states are read: those of the answer, or all."""
    average: StateAverage = "tokens"
    """How distances are averaged: over all tokens, over the tokens of each sequence and then over sequences, or, with
    `broadcast`, as in open-unlearning."""


class JensUnConfig(FrozenModel):
    """JensUn: the tokens that it makes likely."""

    target: str = Field(default="No idea", min_length=1, max_length=1000)
    """A text whose tokens are repeated to the length of the answer, as in the paper; or `refusal` for the refusal that
    is drawn for the item, as for IDK."""


class EmbedConfig(FrozenModel):
    """Distance of hidden states from those of the reference, the retain regularizer of RMU."""

    layer: int | None = Field(default=None, ge=0)
    """The decoder layer whose output it reads, counted from 0. Default: `rmu.layer`."""
    positions: Positions = "answer"
    """The tokens whose hidden states are read: those of the answer, or all."""
    average: StateAverage = "tokens"
    """How distances are averaged: over all tokens, over the tokens of each sequence and then over sequences, or, with
    `broadcast`, as in open-unlearning."""


class ObjectiveConfig(FrozenModel):
    """The settings of a method; the defaults are those of the paper, if it reports them."""

    beta: float = Field(default=0.1, gt=0)
    """Inverse temperature of NPO, DPO and AP, which no other method has; with a smaller one, NPO is closer to gradient
    ascent."""
    forget_coeff: float = Field(default=1.0, ge=0)
    """Factor of the forget loss: raise it if too much is still known."""
    retain_coeff: float = Field(default=1.0, ge=0)
    """Factor of the retain loss: raise it if too much else was lost."""
    me: MEConfig = MEConfig()
    """The loss of ME."""
    kl: KLConfig = KLConfig()
    """The loss of KL, also in LLMU."""
    simnpo: SimNPOConfig = SimNPOConfig()
    wga: WGAConfig = WGAConfig()
    satimp: SatImpConfig = SatImpConfig()
    ceu: CEUConfig = CEUConfig()
    undial: UNDIALConfig = UNDIALConfig()
    pdu: PDUConfig = PDUConfig()
    rmu: RMUConfig = RMUConfig()
    jensun: JensUnConfig = JensUnConfig()
    embed: EmbedConfig = EmbedConfig()


def padded_length(method: str, config: ObjectiveConfig) -> int | None:
    """Return the number of tokens of the padded rows that a method reads.

    Args:
        method: a known method, as `check_method` returns it.
        config: the settings of its losses.

    Returns:
        The longest row in tokens; None if no loss of the method is averaged over padded rows.
    """
    forget, _, retain = method.partition("+")
    used: list[PaddableConfig] = [config.me] if forget == "me" else []
    used += [config.kl] if retain == "kl" or method == LLMU else []
    return max((each.padded_length for each in used if each.average == "padded"), default=None)


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
    forget_names, retain_names = tuple(chain(FORGET, forget)), tuple(chain(RETAIN, retain))
    method, known = plain_method(name), methods(forget_names, retain_names)
    if method not in known:
        ours = OTHER_NAMES.get(method.replace("-", "_"))
        hint = f"did you mean {ours!r}? " if ours else suggest(method, known).partition("allowed: ")[0]
        raise EffaceError(
            f"unknown method {name!r}; {hint}allowed: {LLMU}, or one of "
            f"{', '.join(forget_names)}, alone or with a plus and one of {', '.join(retain_names)}"
        )
    return method
