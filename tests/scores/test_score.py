from __future__ import annotations

import json
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.errors import EffaceError
from efface.records import Record
from efface.scores import DEFINITIONS, score_records
from support.messages import assert_names

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


def test_truth_ratio_and_cosine_of_the_definition_paper(make_record: Make) -> None:
    scores = score_records({"retain": [make_record()]}, "paper").sets["retain"]
    assert scores.truth_ratio == pytest.approx(1 - (0.25 + 0.0625) / 2 / 0.25)
    assert scores.cosine_similarity == 0.25


def test_each_definition_counts_its_tokens_for_the_token_entropy(make_record: Make) -> None:
    record = make_record(output_token_ids=[1, 1, 2, 2], retokenized_output_ids=[5, 6, 7, 8])
    for name, expected in (("closer-look", 1.0), ("paper", 1.0), ("tofu", 0.5), ("open-unlearning", 0.5)):
        scores = score_records({"retain": [record]}, name)
        assert scores.sets["retain"].token_entropy == pytest.approx(expected)
        assert scores.notes == {}


def test_old_records_say_which_token_entropy_they_hold(make_record: Make) -> None:
    old = make_record(output_token_ids=[1, 1, 2, 2], retokenized_output_ids=None)
    new = make_record(set="forget", output_token_ids=[1, 1, 2, 2], retokenized_output_ids=[])
    scores = score_records({"retain": [old], "forget": [new]}, "closer-look")
    assert (scores.sets["retain"].token_entropy, scores.sets["forget"].token_entropy) == (0.5, 0.0)
    assert_names(scores.notes["token_entropy"], "retain", "tokens as generated", "closer-look")
    assert "forget" not in scores.notes["token_entropy"]
    assert scores.missing == {}
    assert scores.model_dump()["notes"] == scores.notes
    assert "notes" not in score_records({"forget": [new]}, "closer-look").model_dump()
    assert score_records({"retain": [old]}, "tofu").notes == {}


def test_probability_is_normalized_on_tofus_two_sets(make_record: Make) -> None:
    for name in ("real_authors", "world_facts"):
        scores = score_records({name: [make_record(set=name)]}, "closer-look")
        assert scores.sets[name].probability == pytest.approx(0.5 / (0.5 + 0.25 + 0.0625))
    scores = score_records({"neighbor": [make_record(set="neighbor")]}, "closer-look")
    assert scores.sets["neighbor"].probability == pytest.approx(0.5)


def test_the_answer_replaces_a_missing_paraphrase(make_record: Make) -> None:
    record = make_record(paraphrased_logprobs=None, answer_logprobs=[-1.0, -3.0], perturbed_logprobs=[[-3.0]])
    scores = score_records({"retain": [record]}, "closer-look")
    assert scores.sets["retain"].truth_ratio == pytest.approx(1 - 0.36787944117144233)  # r = exp(-3 + 2)


def test_missing_metrics_have_the_reason_of_the_records(make_record: Make) -> None:
    def records(name: str) -> list[Record]:
        none: dict[str, Any] = {"judge": None, "entailment_label": None}
        complete = [make_record(set=name, id=f"{name}/{i}") for i in range(2)]
        bare = make_record(set=name, id=f"{name}/2", missing={"entailment": "no NLI model on this machine"}, **none)
        return [*complete, bare]

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
    ("sets", "named"),
    [
        ({}, "the records have no evaluation set"),
        ({"retain": []}, "the set retain has no questions"),
        ({"neighbour": ["q0"]}, r"'neighbour' .*; did you mean 'neighbor'\?"),
        ({"retain": ["q0", "q0"]}, "question q0: this id is repeated"),
    ],
)
def test_sets_that_cannot_be_scored_are_refused(make_record: Make, sets: dict[str, list[str]], named: str) -> None:
    records = {name: [make_record(set=name, id=id_) for id_ in ids] for name, ids in sets.items()}
    with pytest.raises(EffaceError, match=named):
        score_records(records, "closer-look")


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


logprob = st.one_of(st.floats(-30.0, 0.0), st.floats(-1e38, 1e-4), st.sampled_from([0.0, -750.0, -1e39]))
logprobs = st.lists(logprob, min_size=1, max_size=4)
cosine = st.floats(-1.0, 1.0)
words = st.lists(st.sampled_from(["oslo", "was", "born", "1985", "!"]), max_size=5).map(" ".join)
fields = st.fixed_dictionaries(
    {
        "output": words,
        "output_token_ids": st.lists(st.integers(0, 5), max_size=8),
        "answer_logprobs": logprobs,
        "paraphrased_logprobs": st.none() | logprobs,
        "perturbed_logprobs": st.lists(logprobs, max_size=4),
        "cosine_answer": st.none() | cosine,
        "cosine_before": cosine,
        "entailment_label": st.sampled_from(["entailment", "neutral"]),
    }
)
sets = st.dictionaries(
    st.sampled_from(["retain", "real_authors", "world_facts", "forget"]),
    st.lists(fields, min_size=1, max_size=4),
    min_size=1,
)


@given(sets=sets, name=st.sampled_from(sorted(DEFINITIONS)), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_scores_are_in_their_range_and_do_not_depend_on_the_order(
    make_record: Make, sets: dict[str, list[dict[str, Any]]], name: str, seed: int
) -> None:
    records = {
        set_name: [make_record(set=set_name, id=str(i), **row) for i, row in enumerate(rows)]
        for set_name, rows in sets.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score_records(records, name)
    body = scores.model_dump()
    numbers = [body["model_utility"], body["model_utility_retain"], body["forget_efficacy"]]
    numbers += [body["partial"][key] for key in ("model_utility", "model_utility_retain", "forget_efficacy")]
    for row in body["sets"].values():
        row.pop("n")
        numbers += row.values()
    assert all(number is None or 0 <= number <= 1 for number in numbers)
    json.dumps(body, allow_nan=False)

    for key in ("model_utility", "model_utility_retain", "forget_efficacy"):
        assert (body[key] is None) == (key in body["missing"])

    shuffled = {set_name: random.Random(seed).sample(rows, len(rows)) for set_name, rows in reversed(records.items())}
    again = score_records(shuffled, name)
    assert (again.sets, again.partial) == (scores.sets, scores.partial)
    assert again.model_utility == scores.model_utility
