"""Means of one set, and why some are missing."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

import pytest

from efface.artifacts import Scores
from efface.records import Record
from efface.scores import score_records
from efface.scores.definitions import CLOSER_LOOK
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.set_scores import Gap, explain_gaps, score_set

LN2 = 0.6931471805599453


def test_means_and_gaps() -> None:
    questions = [
        MetricInputs(id=f"q{n}", answer_logp=-LN2 * n, token_entropy=value) for n, value in ((1, 0.5), (2, None))
    ]
    scored = score_set("retain", questions, CLOSER_LOOK)
    assert (scored.scores.n, scored.scores.probability) == (2, pytest.approx(0.375))
    assert scored.scores.token_entropy is None
    (gap,) = [gap for gap in scored.gaps if gap.metric == "token_entropy"]
    assert (gap.set, gap.count, gap.n, gap.first) == ("retain", 1, 2, "q2")


def test_sets_with_the_same_reason_are_joined() -> None:
    gaps = [
        Gap("retain", "rouge", 2, 2, "a", "no texts"),
        Gap("forget", "rouge", 1, 3, "b", "no texts"),
        Gap("neighbor", "rouge", 2, 2, "c", "another script"),
    ]
    assert explain_gaps(gaps) == {
        "rouge": "retain, forget (1 of 3 questions, first b): no texts; neighbor: another script"
    }


def test_questions_are_not_kept_in_memory() -> None:
    references: list[weakref.ref[MetricInputs]] = []
    alive = []

    def questions() -> Iterator[MetricInputs]:
        for number in range(20):
            question = MetricInputs(id=str(number), output="a", answer="a")
            references.append(weakref.ref(question))
            alive.append(sum(each() is not None for each in references))
            yield question

    assert score_set("retain", questions(), CLOSER_LOOK).scores.n == 20
    assert max(alive) <= 2  # this one, and the one before, to which the loop still refers


def test_forget_sets_of_earlier_requests_are_scored_like_the_forget_set(make_record: Callable[..., Record]) -> None:
    """Their truth ratio has the form of the forget set, and no aggregate includes them."""
    wrong = [[-LN2]]  # likelier than the correct answer: no preference, but a distance
    records = {name: [make_record(set=name, perturbed_logprobs=wrong)] for name in ("retain", "forget", "forgotten-1")}
    with_it, without = (
        score_records({name: records[name] for name in names}, "closer-look")
        for names in (("retain", "forget", "forgotten-1"), ("retain", "forget"))
    )
    assert with_it.sets["forgotten-1"] == with_it.sets["forget"]
    assert with_it.sets["forgotten-1"].truth_ratio != with_it.sets["retain"].truth_ratio
    for aggregate in ("model_utility", "model_utility_retain", "forget_efficacy", "partial"):
        assert getattr(with_it, aggregate) == getattr(without, aggregate)


def test_metrics_of_open_unlearning_are_those_of_definitions_that_include_them(
    make_record: Callable[..., Record],
) -> None:
    records = {"forget": [make_record(set="forget", answer_predicted=[True, True, False, True])]}
    assert score_records(records, "open-unlearning").sets["forget"].uncounted == {
        "extraction_strength": 0.25,
        "exact_memorization": 0.75,
        "truth_ratio_prob_mean": pytest.approx(2 / 3),  # .25 and the geometric mean of .25 and .0625
        "rouge_1_recall": 0.8,
    }
    assert score_records(records, "closer-look").sets["forget"].exact_memorization is None
    not_asked = {"holdout": [make_record(set="holdout", output="", missing={"rouge": "it is not asked"})]}
    assert score_records(not_asked, "open-unlearning").sets["holdout"].rouge_1_recall is None


def test_readable_outputs_are_in_no_aggregate(make_record: Callable[..., Record]) -> None:
    def scored(*values: float | None, missing: str = "", **more: str) -> Scores:
        reasons = {"not_gibberish": missing} if missing else {}
        rows = [
            make_record(id=str(at), set="forget", not_gibberish=value, missing=reasons, **more)
            for at, value in enumerate(values)
        ]
        return score_records({"forget": rows}, "closer-look")

    plain, found = scored(None, None), scored(0.25, 0.75, gibberish_detector="toy")
    assert found.sets["forget"].not_gibberish == 0.5
    assert found.gibberish_detector == "toy"
    assert "gibberish" not in plain.model_dump_json()
    assert found.partial == plain.partial
    assert found.missing == plain.missing
    assert scored(0.25, None).sets["forget"].not_gibberish is None
    unavailable = scored(None, missing="no hub")
    assert unavailable.missing["not_gibberish"] == "forget: no hub"
    assert unavailable.sets["forget"].custom == {}


def test_extraction_strength_is_in_no_aggregate_and_null_where_a_record_lacks_it(
    make_record: Callable[..., Record],
) -> None:
    def records(*predicted: list[bool] | None) -> dict[str, list[Record]]:
        each = [
            make_record(id=str(number), set="forget", answer_predicted=value) for number, value in enumerate(predicted)
        ]
        return {"forget": each, "retain": [make_record(answer_predicted=predicted[0])]}

    known = score_records(records([False, True], [False, False]), "closer-look")
    assert known.sets["forget"].extraction_strength == 0.25
    assert score_records(records([False, True], [False, False]), "open-unlearning").sets[
        "forget"
    ].extraction_strength == pytest.approx(0.5)
    older = score_records(records(None, [True, True]), "closer-look")
    assert older.sets["forget"].extraction_strength is None
    assert "extraction_strength" not in older.model_dump()["sets"]["forget"]
    assert known.model_dump(exclude={"sets"}) == older.model_dump(exclude={"sets"})
    assert score_records(records([]), "closer-look").sets["forget"].extraction_strength is None
