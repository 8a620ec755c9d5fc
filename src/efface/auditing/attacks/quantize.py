"""quantize: round the weights to 8 or 4 bits and ask again. Small updates vanish in the rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, cast

from efface.auditing.attack import Attack, Context, Cost, Level, ModelName, Tier, Unit
from efface.auditing.fact import Fact, Row, text_of
from efface.auditing.measures.retain_utility import (
    IntactUtility,
    asked_items,
    retain_utility,
    utility_numbers,
    utility_scalars,
)
from efface.auditing.measures.round_to_nearest import Width, round_model
from efface.auditing.subject import Subject
from efface.schema import Prompt
from efface.scores.means import mean

_REWORDED = "-reworded"


class Quantize(Attack):
    """Round-to-nearest of every linear weight but embeddings and head, then the questions as in the run.

    arXiv:2410.16454: methods that keep utility kept 21 % of the forgotten knowledge in full precision and 83 % in 4
    bits. Its code loads in 4 bits with transformers' default, FP4; open-unlearning uses NF4; so both are tried. A
    4-bit model that is broken forgets as well, so each row has the utility on the retain set before and after
    rounding. A control that answers more in 4 bits than in full precision shows noise, not memory.
    """

    name: ClassVar[str] = "quantize"
    tier: ClassVar[Tier] = "weights"
    wants_before: ClassVar[bool] = True

    def __init__(self) -> None:
        self._intact = IntactUtility()

    def units(self, level: Level) -> list[Unit]:
        """NF4; in `standard` the other widths and rewordings for NF4; in `full` rewordings at every width."""
        widths = ("nf4",) if level == "quick" else ("nf4", "int8", "fp4")
        reworded = {"quick": (), "standard": ("nf4",), "full": widths}[level]
        return [Unit(width) for width in widths] + [Unit(width + _REWORDED) for width in reworded]

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:
        """An answer and its likelihood for each fact, and answers to retain questions."""
        asked = len(_asked(facts, unit)) + len(asked_items(context))
        return Cost(decoded=asked * context.max_new_tokens, read=len(facts) * context.max_new_tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """Ask the rounded model; each row has the mean log-probability of the answer, and the utility."""
        asked = _asked(facts, unit)
        if not asked:
            return []
        intact = self._intact(subject, context)
        prompts = [_prompt(fact, unit) for fact in asked]
        with self.rounded(subject, cast(Width, unit.variant.removesuffix(_REWORDED))):
            outputs = subject.answer(prompts, max_new_tokens=context.max_new_tokens)
            logprobs = subject.logprobs([(prompt, fact.answer) for prompt, fact in zip(prompts, asked, strict=True)])
            utility = utility_numbers(intact, retain_utility(subject, context))
        return self.rows_of_outputs(
            asked,
            unit,
            context,
            outputs=outputs,
            shown=[text_of(prompt) for prompt in prompts],
            numbers=[{"answer_logprob": mean(each), **utility} for each in logprobs],
        )

    @contextmanager
    def rounded(self, subject: Subject, width: Width) -> Iterator[None]:
        """Round the model's weights for the block."""
        with subject.changed() as model:
            round_model(model, width)
            yield

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """Utility of each model at each width, and as it is."""
        return utility_scalars(rows)


def _asked(facts: Sequence[Fact], unit: Unit) -> list[Fact]:
    """The facts that a unit asks for."""
    reworded = unit.variant.endswith(_REWORDED)
    return [fact for fact in facts if not reworded or (fact.paraphrased_question and not fact.is_passage)]


def _prompt(fact: Fact, unit: Unit) -> Prompt:
    if not unit.variant.endswith(_REWORDED):
        return fact.prompt
    return Prompt(fact.paraphrased_question or fact.question, fact.prompt.history)
