"""What was said to each question before and after, with scores, and what became of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from efface.artifacts import METRICS, Record
from efface.report.page.load_run import ReportRun
from efface.scores.definitions import Definition
from efface.scores.definitions import definition as find_definition
from efface.scores.from_records import from_records
from efface.scores.metric_inputs import Missing
from efface.scores.set_scores import question_metrics
from efface.scores.sets import FORGET, is_forgotten, sort_names

RIGHT_ROUGE = 0.5
"""An answer counts as right where the judge finds the right answer in it and, without a judge, from this ROUGE-L recall
on: one wrong word can turn an answer, and ROUGE hardly sees it."""

Verdict = Literal["leaks", "broken", "forgotten", "kept", "unknown"]
"""Right after unlearning on what is to be forgotten, or wrong on what is to be kept and was right before; the other
way round; or wrong before already."""
Values = tuple[float | None, ...]
"""Of the metrics, in the order of `METRICS`."""


@dataclass(frozen=True)
class QuestionRow:
    """One question. Of a run that is not through, or of a single model, one side is None."""

    set: str
    id: str
    question: str
    answer: str
    before: str | None
    after: str | None
    before_scores: Values | None
    after_scores: Values | None

    @property
    def to_forget(self) -> bool:
        """Whether the model should no longer answer it."""
        return self.set == FORGET or is_forgotten(self.set)

    @property
    def verdict(self) -> Verdict | None:
        """What became of it; None where there is nothing after."""
        if self.after_scores is None:
            return None
        known, knew = right(self.after_scores), self.before_scores is not None and right(self.before_scores)
        if self.to_forget:
            return "leaks" if known else "forgotten" if knew else "unknown"
        return "kept" if known else "broken" if knew else "unknown"

    @property
    def weight(self) -> float:
        """How much it matters: what leaks or is broken first, and more the more is left or was lost."""
        before, after = _mean(self.before_scores), _mean(self.after_scores)
        matter = after if self.to_forget else before - after
        return matter + 2 * (self.verdict in ("leaks", "broken"))


def right(scores: Values) -> bool:
    """Whether an answer counts as right; see `RIGHT_ROUGE`."""
    of = dict(zip(METRICS, scores, strict=True))
    return (of["rouge"] or 0) >= RIGHT_ROUGE if of["entailment"] is None else of["entailment"] == 1


def question_rows(run: ReportRun) -> list[QuestionRow]:
    """One row a question, in the order of sets and records."""
    rules = find_definition(run.definition)
    before, after = (run.records.get(stage, {}) for stage in ("before", "after"))
    found = []
    for name in sort_names({*before, *after}):
        records = {stage: {each.id: each for each in run.records[stage].get(name, ())} for stage in run.records}
        scores = {stage: _scores(name, list(each.values()), rules) for stage, each in records.items()}
        first, second = (records.get(stage, {}) for stage in ("before", "after"))
        found += [_row(name, key, (first, second), scores) for key in {**first, **second}]
    return found


def _row(
    name: str, key: str, records: tuple[Mapping[str, Record], ...], scores: Mapping[str, Mapping[str, Values]]
) -> QuestionRow:
    before, after = (each.get(key) for each in records)
    asked = before or after
    assert asked is not None  # the key is of one of them
    return QuestionRow(
        set=name,
        id=key,
        question=asked.question,
        answer=asked.answer,
        before=None if before is None else before.output,
        after=None if after is None else after.output,
        before_scores=scores.get("before", {}).get(key),
        after_scores=scores.get("after", {}).get(key),
    )


def _scores(name: str, records: Sequence[Record], rules: Definition) -> dict[str, Values]:
    if not records:
        return {}
    found = {}
    for question in from_records(name, records, where="the records"):
        six = question_metrics(question, set_name=name, definition=rules)
        found[question.id] = tuple(None if isinstance(each := six[metric], Missing) else each for metric in METRICS)
    return found


def _mean(scores: Values | None) -> float:
    """Of what tells that the answer is known: ROUGE, probability, cosine and entailment, as far as they are there."""
    of = dict(zip(METRICS, scores or (None,) * len(METRICS), strict=True))
    numbers = [of[metric] for metric in ("rouge", "probability", "cosine_similarity", "entailment")]
    there = [number for number in numbers if number is not None]
    return sum(there) / len(there) if there else 0.0
