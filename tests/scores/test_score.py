from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from efface.artifacts import Record
from efface.errors import EffaceError
from efface.scores import score_records

Make = Callable[..., Record]


def test_six_metrics_by_hand(make_record: Make) -> None:
    scores = score_records({"retain": [make_record()], "forget": [make_record(set="forget")]}, "closer-look")
    six = {
        "rouge": 0.8,  # four of five words
        "probability": 0.5,
        "truth_ratio": 0.5,  # r = 2^-3 / 2^-2
        "token_entropy": 0.75,  # 1.5 bits of 2
        "cosine_similarity": 0.5,
        "entailment": 1.0,
    }
    for name in ("retain", "forget"):
        assert scores.sets[name].model_dump() == pytest.approx({"n": 1} | six)
    assert scores.forget_efficacy == pytest.approx(1 - (0.8 + 0.5 + 0.5 + 0.5 + 1.0) / 5)
    assert scores.model_utility == pytest.approx(6 / sum(1 / x for x in six.values()))
    assert scores.model_utility_retain == scores.model_utility
    assert (scores.embedder, scores.judge, scores.missing) == ("MiniLM", "nli", {})


def test_paper_takes_its_own_truth_ratio_and_cosine(make_record: Make) -> None:
    scores = score_records({"retain": [make_record()]}, "paper").sets["retain"]
    assert scores.truth_ratio == pytest.approx(1 - (0.25 + 0.0625) / 2 / 0.25)
    assert scores.cosine_similarity == 0.25


def test_options_count_only_where_tofu_normalizes(make_record: Make) -> None:
    for name in ("real_authors", "world_facts"):
        scores = score_records({name: [make_record(set=name)]}, "closer-look")
        assert scores.sets[name].probability == pytest.approx(0.5 / (0.5 + 0.25 + 0.0625))
    scores = score_records({"neighbor": [make_record(set="neighbor")]}, "closer-look")
    assert scores.sets["neighbor"].probability == pytest.approx(0.5)


def test_the_answer_stands_in_where_there_is_no_paraphrase(make_record: Make) -> None:
    record = make_record(paraphrased_logprobs=None, answer_logprobs=[-1.0, -3.0], perturbed_logprobs=[[-3.0]])
    scores = score_records({"retain": [record]}, "closer-look")
    assert scores.sets["retain"].truth_ratio == pytest.approx(1 - 0.36787944117144233)  # r = exp(-3 + 2)


def test_what_is_missing_is_said_in_the_records_words(make_record: Make) -> None:
    def records(name: str) -> list[Record]:
        none: dict[str, Any] = {"judge": None, "entailment_label": None}
        whole = [make_record(set=name, id=f"{name}/{i}") for i in range(2)]
        bare = make_record(set=name, id=f"{name}/2", missing={"entailment": "no NLI model on this machine"}, **none)
        return [*whole, bare]

    scores = score_records({"forget": records("forget"), "retain": records("retain")}, "closer-look")
    assert scores.sets["forget"].entailment is None
    assert scores.missing == {
        "entailment": (
            "retain (1 of 3 questions, first retain/2), forget (1 of 3 questions, first forget/2): "
            "no NLI model on this machine"
        ),
        "model_utility": "it needs entailment on retain",
        "model_utility_retain": "it needs entailment on retain",
        "forget_efficacy": "it needs entailment on forget",
    }
    assert scores.partial.metrics == ["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity"]
    assert scores.judge == "nli"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"answer_logprobs": []}, "answer_logprobs is empty, and an answer has at least one token"),
        ({"answer_logprobs": [-1.0, float("nan")]}, "a number of answer_logprobs is nan, which is not between"),
        ({"answer_logprobs": [-1.0, float("-inf")]}, "a number of answer_logprobs is -inf"),
        ({"answer_logprobs": [-9.0, 5.0]}, "a number of answer_logprobs is 5.0"),
        ({"perturbed_logprobs": [[-1.0], []]}, "perturbed_logprobs is empty"),
        ({"cosine_before": 3.0}, "a cosine is 3.0"),
        ({"entailment_label": "maybe"}, "'maybe' is no entailment label (allowed: entailment, neutral"),
        ({"set": "forget"}, "this record belongs to the set forget; put it there"),
    ],
)
def test_damaged_records(make_record: Make, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EffaceError, match=re.escape(f"the records, set retain, question q0: {sentence}")):
        score_records({"retain": [make_record(**fields)]}, "closer-look")


def test_sets_that_cannot_be_scored(make_record: Make) -> None:
    with pytest.raises(EffaceError, match="the records hold no evaluation set"):
        score_records({}, "closer-look")
    with pytest.raises(EffaceError, match="the set retain has no questions"):
        score_records({"retain": []}, "closer-look")
    with pytest.raises(EffaceError, match=r"'neighbour' is no evaluation set; did you mean 'neighbor'\?"):
        score_records({"neighbour": [make_record(set="neighbour")]}, "closer-look")
    with pytest.raises(EffaceError, match="question q0: this id comes twice"):
        score_records({"retain": [make_record(), make_record()]}, "closer-look")


@pytest.mark.parametrize(("field", "what"), [("embedder", "embedding model"), ("judge", "judge")])
def test_mixed_models_are_refused(make_record: Make, field: str, what: str) -> None:
    records = {"retain": [make_record()], "forget": [make_record(set="forget", **{field: "another"})]}
    with pytest.raises(EffaceError, match=f"more than one {what} .*another"):
        score_records(records, "closer-look")


def test_importing_scores_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "scipy", "rouge_score", "nltk", "numpy")
    code = f"import sys, efface.scores; print(sorted(set({heavy!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
