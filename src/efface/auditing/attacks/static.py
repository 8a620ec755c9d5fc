"""static: how far the weights moved from those of the model before, against the steps of 4-bit rounding."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from efface.auditing.attack import Attack, Context, Cost, Level, ModelAccess, ModelName, Tier, Unit
from efface.auditing.fact import Fact, Row
from efface.auditing.measures.retain_utility import asked_items
from efface.auditing.measures.round_to_nearest import BLOCK, block_scales, four_bit_codes, linear_weights
from efface.auditing.measures.weight_line import WeightLine
from efface.auditing.subject import Subject
from efface.packing.forward import unwrap_peft
from efface.schema import Prompt
from efface.scores.means import mean

MIDPOINTS = 5
NF4_STEP = 2 / 15
"""Mean distance of the 16 levels of NF4, as a share of the largest absolute weight of a block."""
_WEIGHTS, _LINE = "weights", "line"
_LAYER = re.compile(r"(.*?\.\d+)\.")
_BINS, _LOWEST, _HIGHEST = 4096, -40.0, 24.0
"""Of the histogram of log2 |update| / step; its median is within 1 % of the exact one."""


class Static(Attack):
    """Relative L2 distance, share of NF4 codes that differ, update over NF4 step, and loss on the line between both.

    Where hardly any 4-bit code differs, the unlearned model in 4 bits is the model before in 4 bits (arXiv:2605.15138
    finds updates 47 to 828 times below a step). Distance and linear connectivity predict resistance to relearning
    (arXiv:2505.22310, on vision models). No hits, and no proof: a far model may still know, a near one may not.
    """

    name: ClassVar[str] = "static"
    tier: ClassVar[Tier] = "both"
    needs_before: ClassVar[bool] = True
    in_union: ClassVar[bool] = False

    def units(self, level: Level) -> list[Unit]:
        """The weights, and but for `quick` the line."""
        return [Unit(_WEIGHTS), *([] if level == "quick" else [Unit(_LINE)])]

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:
        """Likelihoods at each point of the line; comparing weights takes no tokens."""
        if unit.variant != _LINE:
            return Cost()
        read = len(facts) + len(asked_items(context))
        return Cost(read=(MIDPOINTS + 1) * read * context.max_new_tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """A row of the whole model and one of each layer, whose name stands for the fact; none of the model before."""
        if subject.name == "before":
            return []
        before = context.models["before"]
        if unit.variant == _LINE:
            losses = line_losses(subject, before, facts, context)
            return self.rows_of_numbers([""], unit, [losses]) if losses else []
        changes = compare_weights(subject.model, before)
        total = Change()
        for change in changes.values():
            total.add(change)
        rows = {"": total.numbers()}
        for name, change in changes.items():
            if _LAYER.match(name + "."):
                rows[name] = {f"layer_{key}": value for key, value in change.numbers().items()}
        return self.rows_of_numbers(list(rows), unit, list(rows.values()))

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """Numbers of all weights and of the line, for the unlearned model and the control."""
        return {
            f"{name}_{model}": value
            for model, listed in rows.items()
            for row in listed
            if not row.fact
            for name, value in row.numbers.items()
        }


@dataclass
class Change:
    """Sums over some weights of two models, from which the distances are computed."""

    squared_update: float = 0.0
    squared_before: float = 0.0
    codes: int = 0
    """Weights that 4-bit rounding rounds."""
    other_codes: int = 0
    """Those of them that it rounds to another level."""
    ratios: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.int64))
    """Histogram of log2 |update| / NF4 step of the weights that 4-bit rounding rounds."""

    def add(self, other: Change) -> None:
        """Count the weights of another one, too."""
        self.squared_update += other.squared_update
        self.squared_before += other.squared_before
        self.codes += other.codes
        self.other_codes += other.other_codes
        self.ratios = self.ratios + other.ratios

    def numbers(self) -> dict[str, float]:
        """The distances; those of rounding only where there are weights that it rounds."""
        found = {"relative_l2": math.sqrt(self.squared_update / self.squared_before) if self.squared_before else 0.0}
        if self.codes:
            found["nf4_codes_changed"] = self.other_codes / self.codes
            found["update_in_nf4_steps"] = self._median_ratio()
        return found

    def _median_ratio(self) -> float:
        middle = int((self.ratios.cumsum(0) * 2 >= self.codes).nonzero()[0])
        return 0.0 if middle == 0 else 2 ** (_LOWEST + (middle + 0.5) * (_HIGHEST - _LOWEST) / _BINS)


def compare_weights(model: Any, before: ModelAccess) -> dict[str, Change]:
    """Compare every weight with that of the model before, which is read weight by weight.

    Args:
        model: The changed model.
        before: The model before unlearning.

    Returns:
        Layer, such as `model.layers.3`, or the name of a weight outside of layers -> its change.
    """
    ours = dict(unwrap_peft(model).named_parameters())
    linear = {name: transposed for name, _, transposed in linear_weights(model)}
    found: dict[str, Change] = defaultdict(Change)
    for name, theirs in before.tensors():
        if name in ours:
            match = _LAYER.match(name)
            change = weight_change(
                ours[name].detach(),
                theirs.to(ours[name].device),
                rounded=name in linear,
                transposed=linear.get(name, False),
            )
            found[match[1] if match else name].add(change)
    return dict(found)


def weight_change(after: Tensor, before: Tensor, *, rounded: bool, transposed: bool = False) -> Change:
    """Compare one weight of two models.

    Args:
        after: Of the changed model, of any dtype.
        before: Of the model before, in the same shape; blocks and steps are its.
        rounded: Whether 4-bit rounding rounds it.
        transposed: As for `efface.auditing.measures.round_to_nearest.rounded`.
    """
    new, old = after.float(), before.float()
    update = new - old
    change = Change(float(update.double().square().sum()), float(old.double().square().sum()))
    if rounded:
        new, old, update = (each.T.contiguous() if transposed else each for each in (new, old, update))
        change.codes = old.numel()
        change.other_codes = int((four_bit_codes(new, "nf4") != four_bit_codes(old, "nf4")).sum())
        steps = (block_scales(old) * NF4_STEP).repeat_interleave(BLOCK)[: old.numel()]
        logs = (update.flatten().abs() / steps).log2().clamp(_LOWEST, _HIGHEST)  # no update: -inf, the lowest bin
        bins = ((logs - _LOWEST) * (_BINS / (_HIGHEST - _LOWEST))).long().clamp(max=_BINS - 1)
        change.ratios = torch.bincount(bins, minlength=_BINS).cpu()
    return change


def line_losses(subject: Subject, before: ModelAccess, facts: Sequence[Fact], context: Context) -> dict[str, float]:
    """Mean negative log-likelihood of facts and retain answers on the straight line to the model before.

    Args:
        subject: The changed model, at 0 of the line.
        before: The model before, at 1.
        facts: The facts.
        context: Has the retain questions.

    Returns:
        `loss_forget_0.50` and so on, at 0 and the midpoints; `barrier_forget`, how far the highest is above the higher
        end. The same for `retain`, where there are questions.
    """
    asked = {
        "forget": [(fact.prompt, fact.answer) for fact in facts],
        "retain": [(item.prompt, item.scored_answer) for item in asked_items(context)],
    }
    asked = {part: pairs for part, pairs in asked.items() if pairs}
    losses: dict[str, dict[float, float]] = {part: {} for part in asked}
    with subject.changed() as model:
        line = WeightLine(model, before)
        for share in (number / (MIDPOINTS + 1) for number in range(MIDPOINTS + 2)):
            line.move(share)
            for part, pairs in asked.items():
                losses[part][share] = _loss(subject, pairs)
    found: dict[str, float] = {}
    for part, by_share in losses.items():
        found |= {f"loss_{part}_{share:.2f}": loss for share, loss in by_share.items()}
        found[f"barrier_{part}"] = max(by_share.values()) - max(by_share[0.0], by_share[1.0])
    return found


def _loss(subject: Subject, pairs: Sequence[tuple[Prompt, str]]) -> float:
    return mean([-mean(each) for each in subject.logprobs(pairs)])
