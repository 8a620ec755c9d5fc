"""read-out: how much of each answer the model predicts when it is given the true words before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from efface.auditing.attack import Attack, Context, Cost, ModelName, Tier, Unit
from efface.auditing.fact import Fact, Row
from efface.auditing.measures.answer_tokens import answer_tokens
from efface.auditing.measures.share_left import means_by_model, share_left
from efface.auditing.subject import Subject
from efface.scores.means import mean
from efface.scores.metrics.memorization import exact_memorization, extraction_strength

METRICS = ("extraction_strength", "exact_memorization", "answer_logprob")


class ReadOut(Attack):
    """Extraction strength, exact memorization and the mean log-probability of the answers, by one forward pass each.

    Carlini et al., 2021 (arXiv:2012.07805), Tirumala et al., 2022 (arXiv:2205.10770); extraction strength was used for
    unlearning in arXiv:2406.09179. No hits: an answer that is predicted word by word need not be said.
    """

    name: ClassVar[str] = "read-out"
    tier: ClassVar[Tier] = "weights"
    wants_before: ClassVar[bool] = True
    in_union: ClassVar[bool] = False

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:  # noqa: ARG002
        """One forward pass over each answer."""
        return Cost(read=len(facts) * context.max_new_tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:  # noqa: ARG002
        """Three numbers of each fact."""
        read = answer_tokens(subject, [(fact.prompt, fact.answer) for fact in facts])
        numbers = [
            {
                "extraction_strength": extraction_strength(tokens.predicted),
                "exact_memorization": exact_memorization(tokens.predicted),
                "answer_logprob": mean(tokens.logprobs),
            }
            for tokens in read
        ]
        return self.rows_of_numbers([fact.id for fact in facts], unit, numbers)

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """Mean of each number for each model, and what is left of it between control (0) and model before (1)."""
        found: dict[str, float | None] = {}
        for metric in METRICS:
            means = means_by_model(rows, metric)
            found |= {f"{metric}_{model}": value for model, value in means.items()}
            found[f"{metric}_left"] = share_left(means)
        return found
