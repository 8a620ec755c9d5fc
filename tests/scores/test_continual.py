"""Scores of a queue of requests over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from efface.artifacts import ContinualResults, Results
from efface.records import Record
from efface.scores.continual import continual_results, utility
from efface.scores.score import score_records

Make = Callable[..., Record]


@pytest.fixture
def records_of(make_record: Make) -> Callable[..., list[Record]]:
    """The records of a set whose outputs are the reference answers (ROUGE 1) or have nothing of them (0)."""

    def make(name: str, *, correct: bool, **fields: Any) -> list[Record]:
        output = "She was born in Oslo." if correct else "Nobody knows."
        return [make_record(set=name, output=output, **fields)]

    return make


@pytest.fixture
def joined(records_of: Callable[..., list[Record]]) -> Callable[..., ContinualResults]:
    """Two requests; after the second, the model knows the forget set of the first again."""

    def make(definition: str = "closer-look", *, second: dict[str, Any] | None = None) -> ContinualResults:
        other = second or {}
        before = {
            "retain": records_of("retain", correct=True),
            "forgotten-1": records_of("forgotten-1", correct=True),
            "forgotten-2": records_of("forgotten-2", correct=True, **other),
        }
        first = {"retain": records_of("retain", correct=True), "forget": records_of("forget", correct=False)}
        last = {
            "retain": records_of("retain", correct=False),
            "forget": records_of("forget", correct=False, **other),
            "forgotten-1": records_of("forgotten-1", correct=True),
        }
        results = [
            Results(
                definition=definition,
                method="me+gd",
                before=score_records(first, definition),
                after=score_records(each, definition),
            )
            for each in (first, last)
        ]
        return continual_results(results, before, ["task 1", "task 2"], definition)

    return make


def efficacy(rouge: float, others: Sequence[float]) -> float:
    return 1 - (rouge + sum(others)) / (1 + len(others))


def test_a_row_is_the_forget_set_of_one_request_over_time(joined: Callable[..., ContinualResults]) -> None:
    """Probability 1/2, cosine 1/2 and entailment as the record has them; the truth ratio is that of its numbers."""
    results = joined()
    assert results.metrics == ["rouge", "probability", "truth_ratio", "cosine_similarity", "entailment"]
    one = results.before.sets["forgotten-1"]
    assert (one.rouge, one.probability, one.cosine_similarity) == (1.0, pytest.approx(0.5), pytest.approx(0.5))
    before, gone, back = results.forget_efficacy[0]
    assert one.truth_ratio is not None
    assert one.entailment is not None
    others = [0.5, one.truth_ratio, 0.5]
    assert before == back == pytest.approx(efficacy(1.0, [*others, one.entailment]))
    assert gone == pytest.approx(results.after[0].forget_efficacy)
    assert before is not None
    assert gone is not None
    assert gone > before
    second = results.forget_efficacy[1]
    assert second[1] is None
    assert (second[0], second[2]) == (before, pytest.approx(gone))
    assert results.requests == ["task 1", "task 2"]


def test_a_metric_that_one_set_does_not_have_is_included_in_none(joined: Callable[..., ContinualResults]) -> None:
    incomplete = {"perturbed_logprobs": [], "missing": {"truth_ratio": "no wrong answers"}}
    results = joined(second=incomplete)
    assert results.metrics == ["rouge", "probability", "cosine_similarity", "entailment"]
    whole = joined()
    assert results.forget_efficacy[0] != whole.forget_efficacy[0]
    one = results.before.sets["forgotten-1"]
    assert one.entailment is not None
    assert results.forget_efficacy[0][0] == pytest.approx(efficacy(1.0, [0.5, 0.5, one.entailment]))


def test_a_definition_without_efficacy(joined: Callable[..., ContinualResults]) -> None:
    results = joined("tofu")
    assert results.metrics == []
    assert {value for row in results.forget_efficacy for value in row} == {None}


def test_utility_is_over_the_same_metrics_at_all_times(joined: Callable[..., ContinualResults]) -> None:
    """Whatever is missing on forget sets: the partial scores of each model alone would be over other metrics."""
    whole = joined()
    found = utility(whole)
    assert found.metrics == ["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity", "entailment"]
    assert found.whole == found.retain == [each.model_utility for each in (whole.before, *whole.after)]
    assert found.whole[0] == found.whole[1] != found.whole[2]
    incomplete = joined(second={"perturbed_logprobs": [], "missing": {"truth_ratio": "no wrong answers"}})
    assert incomplete.after[0].partial.metrics != incomplete.after[1].partial.metrics
    assert utility(incomplete) == found


def test_no_utility_without_a_retain_set(joined: Callable[..., ContinualResults]) -> None:
    results = joined()
    for each in (results.before, *results.after):
        del each.sets["retain"]
    assert utility(results).metrics == []
    assert utility(results).whole == [None] * 3
