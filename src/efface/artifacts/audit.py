"""Types of the results of `efface audit`, which results.json of a run has as `audit`. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from efface.frozen import FrozenModel

Interval = tuple[float, float]
"""95 %, as fractions."""


class Recoverable(FrozenModel):
    """The facts that the model knew before, and that at least one attack brought back."""

    k: int = Field(ge=0)
    """How many came back."""
    n: int = Field(ge=1)
    """How many were attacked."""
    interval: Interval
    """Of k/n, by Clopper and Pearson."""
    known: int
    """How many the model knew before; more than `n` where a level audits a part."""
    asked_plainly: int
    """How many came back without an attack, prompted as in the run."""
    by_asking: int
    """How many came back from attacks that need no weights."""
    chance: float | None
    """Share that would count as brought back where each output is compared with another fact of the same type; None
    where no other fact is of the same type."""
    judge: str
    """What decided whether a fact came back: the name of the run's judge, or `words` without one."""


class AuditExcess(FrozenModel):
    """How many more facts came back than from a control, as a share of the facts."""

    value: float
    interval: Interval
    """Newcombe's for paired proportions, or by paired bootstrap of subjects. In earlier versions by bootstrap of facts,
    too, which has no width where no fact differs."""
    by_subject: bool
    """Whether the interval takes subjects, of which there are at least 10, as independent, not facts."""


class AuditControl(FrozenModel):
    """A model that never knew the facts, under the same attacks."""

    kind: Literal["given", "base"]
    """`given` by `--against`, or the `base` model that the target was fine-tuned from."""
    model: str
    sha256: str
    k: int
    """How many facts the same attacks found in it."""
    asked_plainly: int


class AttackResult(FrozenModel):
    """What one attack brought back; a fact counts if it came back under any of the attack's variants and seeds."""

    tier: Literal["asks", "weights", "both"]
    in_union: bool
    """Whether its hits count among the recoverable facts."""
    rate: float | None
    """None where the attack has no hits, but numbers alone, which are among the scalars."""
    n: int
    """Facts that it could be tried on: its own text contains no others."""
    interval: Interval | None
    control_rate: float | None
    before_rate: float | None
    """On the model before unlearning: a low one says that the attack's prompts break answering."""
    chance: float | None
    """As `Recoverable.chance`, for this attack."""
    p_value: float | None
    """That it brings back no more from this model than from the control: exact test of McNemar, adjusted over all
    attacks by sign flips."""
    echoes: int
    """Answers that were left out because the attack's own text contains the fact."""
    variants: dict[str, float | None]
    """The rate of each variant."""
    control_variants: dict[str, float | None]
    numbers: dict[str, float]
    """Mean of each number of the rows."""
    seconds: float


class AuditResults(FrozenModel):
    """What `efface audit` found: `audit/results.json`, and `audit` in results.json."""

    recoverable: Recoverable
    excess: AuditExcess | None
    """None without a control: guesses are then not subtracted."""
    control: AuditControl | None
    attacks: dict[str, AttackResult]
    scalars: dict[str, dict[str, float | None]]
    """Attack -> numbers that are no rate of facts."""
    level: Literal["quick", "standard", "full"]
    seeds: list[int]
    seconds: float
    left_out: dict[str, str]
    """What was not done -> why."""
