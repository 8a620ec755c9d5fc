"""Questions that two models answer differently."""

from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.scores import score_records
from efface.scores.definitions import CLOSER_LOOK, TOFU
from efface.scores.leaderboard.differences import differences
from support.answered import answered, values_of

NAMES = ("retain", "forget")


def test_means_over_the_forget_set_are_those_of_the_scores() -> None:
    one, other = answered(1, names=NAMES), answered(2, names=NAMES)
    found = differences(values_of(one), values_of(other), CLOSER_LOOK)
    assert len(found) == 14
    leaks = [each.second.knows for each in found if each.set == "forget"]
    efficacy = score_records(other, "closer-look").forget_efficacy
    assert efficacy is not None
    assert sum(leaks) / 7 == pytest.approx(1 - efficacy, abs=1e-12)
    changes = [abs(each.change) for each in found]
    assert changes == sorted(changes, reverse=True)


def test_the_largest_change_is_first() -> None:
    one = answered(1, names=NAMES)
    row = one["forget"][3]
    now = row.model_copy(update={"output": row.answer, "cosine_answer": 1.0, "answer_logprobs": [0.0]})
    other = one | {"forget": [now if each is row else each for each in one["forget"]][::-1]}
    first, *rest = differences(values_of(one), values_of(other), CLOSER_LOOK)
    assert (first.set, first.id, first.to_forget) == ("forget", "forget/3", True)
    assert (first.question, first.answer) == (row.question, row.answer)
    assert (first.first.output, first.second.output) == (row.output, row.answer)
    assert first.change > 0
    assert {each.change for each in rest} == {0}
    assert not any(each.to_forget for each in rest if each.set == "retain")


def test_only_metrics_of_both_models_are_compared() -> None:
    one, other = answered(1, names=NAMES), answered(2, names=NAMES, judge=None, entailment_label=None)
    for each in differences(values_of(one), values_of(other), CLOSER_LOOK):
        assert "entailment" not in each.first.metrics
        assert ("token_entropy" in each.first.metrics) == (each.set == "retain")
        assert each.first.knows == pytest.approx(sum(each.first.metrics.values()) / len(each.first.metrics))


def test_without_efficacy_rouge_and_probability_show_a_leak() -> None:
    models = [values_of(answered(seed, names=NAMES), TOFU) for seed in (1, 2)]
    metrics = {each.set: set(each.first.metrics) for each in differences(*models, TOFU)}
    assert metrics == {"retain": {"rouge", "probability", "truth_ratio"}, "forget": {"rouge", "probability"}}


def test_models_that_are_not_comparable_are_refused() -> None:
    with pytest.raises(EffaceError, match="not comparable: the second one has 8 questions and not 7 on retain"):
        differences(values_of(answered(1)), values_of(answered(2, 8)), CLOSER_LOOK)
