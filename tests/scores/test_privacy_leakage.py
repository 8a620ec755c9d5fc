from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.metrics.membership import min_k_score
from efface.scores.privacy_leakage import auc, membership_sets, privacy_leakage, privleak, relative_difference
from support.messages import assert_names


def questions(*scores: float) -> list[MetricInputs]:
    return [MetricInputs(id=str(n), custom={"min_k": score}) for n, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("members", "unseen", "expected"),
    [([1.0, 2.0], [3.0], 1.0), ([3.0], [1.0], 0.0), ([1.0, 3.0], [2.0], 0.5), ([1.0], [1.0, 2.0], 0.75)],
)
def test_auc_by_hand(members: list[float], unseen: list[float], expected: float) -> None:
    assert auc(members, unseen) == expected


def test_auc_counts_pairs() -> None:
    rng = random.Random(0)
    members, unseen = ([rng.randrange(20) / 4 for _ in range(30)] for _ in range(2))
    pairs = [(m < u) + (m == u) / 2 for m in members for u in unseen]
    assert auc(members, unseen) == pytest.approx(sum(pairs) / len(pairs))


def test_privleak_is_what_muse_publishes() -> None:
    """MUSE's own AUC is 1 - ours; its retrained model on News has .4772 (constants.py)."""
    assert privleak(1.0, 1 - 0.4772) == pytest.approx(-100)
    assert privleak(1 - 0.4772, 1 - 0.4772) == 0
    assert privleak(0.0, 1 - 0.4772) == pytest.approx((1 - 0.4772) / 0.4772 * 100)
    assert privleak(0.5, 0.99) is None
    assert relative_difference(0.5, 0.01) is None


def test_members_are_the_forget_set_unless_there_is_a_set_of_them() -> None:
    assert membership_sets(["forget", "retain", "holdout"]) == ("forget", "holdout")
    assert membership_sets(["forget", "members", "holdout"]) == ("members", "holdout")
    assert membership_sets(["forget", "members"]) is None


def test_of_two_models() -> None:
    leaking = {"forget": questions(1, 1), "holdout": questions(2, 3)}
    retrained = {"forget": questions(2, 1), "holdout": questions(1, 2)}
    found = privacy_leakage(leaking, retrained)
    assert found is not None
    assert (found.auc, found.auc_retrained, found.privleak, found.rel_diff) == (1.0, 0.5, -100.0, 100.0)
    alone = privacy_leakage(leaking, None)
    assert alone is not None
    assert (alone.auc, alone.auc_retrained, alone.privleak, alone.rel_diff) == (1.0, None, None, None)


def test_there_is_none_without_unseen_items_or_their_scores() -> None:
    assert privacy_leakage({"forget": questions(1)}, None) is None
    assert privacy_leakage({"forget": questions(1), "holdout": [MetricInputs(id="a")]}, None) is None


def test_a_retrained_model_of_other_sets_is_refused() -> None:
    with pytest.raises(EffaceError) as caught:
        privacy_leakage({"forget": questions(1), "holdout": questions(2)}, {"forget": questions(1)})
    assert_names(str(caught.value), "retrained", "holdout", "evaluate it on the same data")


def test_the_numbers_of_open_unlearning(shared: Path) -> None:
    """Its min-k, AUC and PrivLeak, from log-probabilities of its own models (last tokens left out, as it does)."""
    golden = json.loads((shared / "golden" / "open_unlearning" / "losses_and_metrics.json").read_text())["metrics"]
    membership = golden["membership"]["min_k"]
    scores = {
        name: [min_k_score(logprobs) for logprobs in golden["token_logprobs_without_last"][name]]
        for name in ("forget", "holdout")
    }
    for name, found in scores.items():
        assert found == pytest.approx(membership[name], rel=1e-6)
    value = auc(scores["forget"], scores["holdout"])
    assert value == pytest.approx(membership["auc"])
    leakage = golden["privleak"]
    assert privleak(value, leakage["auc_of_retrained"]) == pytest.approx(leakage["privleak"])
    assert relative_difference(value, leakage["auc_of_retrained"]) == pytest.approx(leakage["rel_diff"])
