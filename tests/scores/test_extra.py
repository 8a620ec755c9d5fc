"""Additional metrics of records: beside the six, in no aggregate, and absent where no record asks for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from efface.records import Record
from efface.scores import score_records

Make = Callable[..., Record]


def test_they_are_computed_where_records_name_them(make_record: Make) -> None:
    plain = make_record(set="retain")
    extra = make_record(
        set="forget",
        answer="The museum opened in May.",
        output="It opened in May",
        answer_logprobs=[-1.0, -3.0],
        extra_metrics=["rouge_l_f1", "min_k"],
    )
    scores = score_records({"retain": [plain], "forget": [extra]}, "closer-look")
    assert scores.sets["retain"].custom == {}
    assert scores.sets["forget"].custom == {"rouge_l_f1": pytest.approx(2 * 3 / (5 + 4)), "min_k": 3.0}
    without = score_records({"retain": [plain], "forget": [extra.model_copy(update={"extra_metrics": []})]}, "paper")
    assert score_records({"retain": [plain], "forget": [extra]}, "paper").model_utility == without.model_utility


def test_a_record_is_written_with_them_only_if_there_are_any(make_record: Make) -> None:
    assert "extra_metrics" not in make_record().model_dump_json()
    extra = make_record(extra_metrics=["min_k"])
    assert Record.model_validate_json(extra.model_dump_json()) == extra


def test_texts_of_which_only_likelihoods_are_computed_have_no_other_metrics(make_record: Make) -> None:
    metrics = ("rouge", "token_entropy", "cosine_similarity", "entailment")
    texts = make_record(set="members", output="", output_token_ids=[], missing=dict.fromkeys(metrics, "not asked"))
    scores = score_records({"retain": [make_record()], "members": [texts]}, "closer-look")
    assert [getattr(scores.sets["members"], metric) for metric in metrics] == [None] * 4
    assert scores.sets["members"].probability == pytest.approx(0.5)
    assert scores.missing.keys() == {"forget_efficacy"}  # of which no other set lacks a metric
    assert scores.partial.model_utility == scores.model_utility
