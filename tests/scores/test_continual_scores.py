"""The matrix of a queue of requests, and the utility beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from efface.artifacts import ContinualResults, Record, Results
from efface.scores.continual import continual_results, utility
from efface.scores.score import score_records
from efface.scores.sets import check_names, is_forgotten, ordered

Make = Callable[..., Record]
LN2 = 0.6931471805599453


@pytest.fixture
def said(make_record: Make) -> Callable[..., list[Record]]:
    """The records of a set that says the right answer (rouge 1) or nothing of it (0)."""

    def make(name: str, *, right: bool, **fields: Any) -> list[Record]:
        output = "She was born in Oslo." if right else "Nobody knows."
        return [make_record(set=name, output=output, **fields)]

    return make


@pytest.fixture
def joined(said: Callable[..., list[Record]]) -> Callable[..., ContinualResults]:
    """Two requests; the first one's set comes back with the second."""

    def make(definition: str = "closer-look", *, second: dict[str, Any] | None = None) -> ContinualResults:
        other = second or {}
        before = {
            "retain": said("retain", right=True),
            "forgotten-1": said("forgotten-1", right=True),
            "forgotten-2": said("forgotten-2", right=True, **other),
        }
        first = {"retain": said("retain", right=True), "forget": said("forget", right=False)}
        last = {
            "retain": said("retain", right=False),
            "forget": said("forget", right=False, **other),
            "forgotten-1": said("forgotten-1", right=True),
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


def test_a_row_is_one_requests_set_over_time(joined: Callable[..., ContinualResults]) -> None:
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


def test_a_metric_that_one_set_lacks_is_counted_in_none(joined: Callable[..., ContinualResults]) -> None:
    lacking = {"perturbed_logprobs": [], "missing": {"truth_ratio": "no wrong answers"}}
    results = joined(second=lacking)
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
    """Whatever the sets to forget lack: the partial scores of each model alone would be over other metrics."""
    whole = joined()
    found = utility(whole)
    assert found.metrics == ["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity", "entailment"]
    assert found.whole == found.retain == [each.model_utility for each in (whole.before, *whole.after)]
    assert found.whole[0] == found.whole[1] != found.whole[2]
    lacking = joined(second={"perturbed_logprobs": [], "missing": {"truth_ratio": "no wrong answers"}})
    assert lacking.after[0].partial.metrics != lacking.after[1].partial.metrics
    assert utility(lacking) == found


def test_no_utility_without_a_set_to_keep(joined: Callable[..., ContinualResults]) -> None:
    results = joined()
    for each in (results.before, *results.after):
        del each.sets["retain"]
    assert utility(results).metrics == []
    assert utility(results).whole == [None] * 3


def test_forgotten_sets_are_scored_as_the_forget_set_is(make_record: Make) -> None:
    """Their truth ratio has the form for what is forgotten; they are counted in no aggregate."""
    wrong = [[-LN2]]  # likelier than the right answer: no preference for it, but a distance
    records = {name: [make_record(set=name, perturbed_logprobs=wrong)] for name in ("retain", "forget", "forgotten-1")}
    with_it, without = (
        score_records({name: records[name] for name in names}, "closer-look")
        for names in (("retain", "forget", "forgotten-1"), ("retain", "forget"))
    )
    assert with_it.sets["forgotten-1"] == with_it.sets["forget"]
    assert with_it.sets["forgotten-1"].truth_ratio != with_it.sets["retain"].truth_ratio
    for aggregate in ("model_utility", "model_utility_retain", "forget_efficacy", "partial"):
        assert getattr(with_it, aggregate) == getattr(without, aggregate)


def test_names_and_their_order() -> None:
    names = ["forgotten-10", "forgotten-2", "forget", "world_facts", "retain"]
    assert ordered(names) == ["retain", "world_facts", "forget", "forgotten-2", "forgotten-10"]
    assert [
        is_forgotten(name) for name in ("forgotten-1", "forgotten-0", "forgotten-01", "forgotten-", "forgotten-1x")
    ] == [*(True, False, False, False, False)]
    check_names(names, where="here")
