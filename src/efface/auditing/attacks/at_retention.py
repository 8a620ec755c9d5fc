"""at-retention: how much of the answers is left where each method keeps as much of the retain set as the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from efface.auditing.attack import Attack, Context, Cost, Level, ModelName, Tier, Unit
from efface.auditing.fact import Fact, Row
from efface.auditing.measures.answer_tokens import answer_tokens
from efface.auditing.measures.retain_utility import asked_items
from efface.auditing.measures.share_left import means_by_model, share_left
from efface.auditing.measures.weight_line import WeightLine
from efface.auditing.subject import Subject
from efface.errors import EffaceError
from efface.schema import Prompt
from efface.scores.means import mean
from efface.scores.metrics.memorization import extraction_strength

RETENTION = 0.95
"""Of the extraction strength that the model before unlearning has on the retain set."""
_BISECTIONS = 6
_STRENGTH, _RETAINED, _SHARE = "extraction_strength", "retained", "share_before"


class AtRetention(Attack):
    """Extraction strength after the weights were mixed with those before, until enough of the retain set is back.

    UWC (arXiv:2406.09179): a method that breaks the model forgets everything, so methods are compared at equal
    retention. The smallest share of the model before is taken at which the extraction strength on the retain set is 95
    % of that before. The mixture is no model that anybody would use: it says what forgetting costs. No hits.
    """

    name: ClassVar[str] = "at-retention"
    tier: ClassVar[Tier] = "both"
    needs_before: ClassVar[bool] = True
    in_union: ClassVar[bool] = False

    def units(self, level: Level) -> list[Unit]:
        """One, but for `quick`."""
        return [] if level == "quick" else [Unit(f"{RETENTION:.0%}".rstrip("%"))]

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:  # noqa: ARG002
        """The retain set at each point, and the facts at the last."""
        read = len(facts) + (_BISECTIONS + 2) * len(asked_items(context))
        return Cost(read=read * context.max_new_tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """One row for each fact; of the model before, at the end of the line, its own numbers.

        Raises:
            EffaceError: The run has no retain set.
        """
        retain = [(item.prompt, item.scored_answer) for item in asked_items(context)]
        if not retain:
            raise EffaceError("it compares at equal retention, and the run has no questions of a retain set")
        with subject.changed() as model:
            share, retained = 1.0, mean(_strengths(subject, retain))
            if subject.name != "before":
                goal = RETENTION * context.rows["before"][0].numbers[_RETAINED]
                line = WeightLine(model, context.models["before"])
                share = _smallest_share(line, subject, retain, goal)
                line.move(share)
                retained = mean(_strengths(subject, retain))
            strengths = _strengths(subject, [(fact.prompt, fact.answer) for fact in facts])
        numbers = [{_STRENGTH: strength, _RETAINED: retained, _SHARE: share} for strength in strengths]
        return self.rows_of_numbers([fact.id for fact in facts], unit, numbers)

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """Mean extraction strength on facts, that on the retain set and the share of the model before, by model."""
        found: dict[str, float | None] = {}
        for name in (_STRENGTH, _RETAINED, _SHARE):
            means = means_by_model(rows, name)
            found |= {f"{name}_{model}": value for model, value in means.items()}
            if name == _STRENGTH:
                found[f"{name}_left"] = share_left(means)
        return found


def _smallest_share(line: WeightLine, subject: Subject, retain: Sequence[tuple[Prompt, str]], goal: float) -> float:
    """The smallest share of the model before that keeps enough, by bisection: within 1/64 above it."""
    if mean(_strengths(subject, retain)) >= goal:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        line.move(middle)
        if mean(_strengths(subject, retain)) >= goal:
            high = middle
        else:
            low = middle
    return high


def _strengths(subject: Subject, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
    return [extraction_strength(tokens.predicted) for tokens in answer_tokens(subject, pairs)]
