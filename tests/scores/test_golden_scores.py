"""Public eval logs of real Llama-2-7B models must have the scores of the published code."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from efface.scores import score_path
from efface.scores.inputs.eval_logs import read_log
from efface.scores.inputs.from_tofu_log import SETS
from efface.scores.metrics.rouge import rouge

LOGS = ("llama2-7b-full", "llama2-7b-retain90")
NAMES = ("retain", "real_authors", "world_facts", "forget")
CLOSE = {"abs": 1e-9, "rel": 0.0}


@cache  # ROUGE of 817 questions takes half a second
def score(log: Path, definition: str) -> dict[str, Any]:
    return score_path(log, definition=definition)


@pytest.fixture(params=LOGS)
def log(request: pytest.FixtureRequest, shared: Path) -> Path:
    return shared / "golden" / "eval_logs" / f"{request.param}.json"


@pytest.fixture
def expected(log: Path) -> dict[str, Any]:
    return json.loads(log.with_suffix(".expected.json").read_text())


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        ("closer-look", "truth_ratio_geometric"),
        ("paper", "truth_ratio_arithmetic"),
        ("tofu", "tofu_truth_ratio_geometric"),
        ("open-unlearning", "tofu_truth_ratio_geometric"),
    ],
)
def test_sets(log: Path, expected: dict[str, Any], definition: str, key: str) -> None:
    # 1e-10 in a denominator moves open-unlearning away from tofu: a truth ratio's probabilities are above 1e-5 here
    close = {"abs": 1e-5, "rel": 0.0} if definition == "open-unlearning" else CLOSE
    sets = score(log, definition)["sets"]
    assert list(sets) == list(NAMES)
    for name in NAMES:
        assert sets[name]["n"] == expected[name]["n"]
        assert sets[name]["rouge"] == pytest.approx(expected[name]["rouge"], **CLOSE)
        assert sets[name]["probability"] == pytest.approx(expected[name]["probability"], **close)
        assert sets[name]["truth_ratio"] == pytest.approx(expected[name][key], **close)
        assert sets[name]["token_entropy"] is sets[name]["cosine_similarity"] is sets[name]["entailment"] is None


def test_rouge_equals_the_logged_one_exactly(log: Path) -> None:
    logged = json.loads(log.read_text())
    questions = read_log(log)
    for block, name in SETS.items():
        assert [rouge(question) for question in questions[name]] == list(logged[block]["rougeL_recall"].values())


def test_aggregates(log: Path, expected: dict[str, Any]) -> None:
    tofu = score(log, "tofu")
    assert tofu["model_utility"] == pytest.approx(expected["tofu_model_utility_geometric"], **CLOSE)
    closer_look = score(log, "closer-look")
    assert closer_look["definition"] == "closer-look"
    assert closer_look["model_utility"] is closer_look["model_utility_retain"] is closer_look["forget_efficacy"] is None
    assert closer_look["partial"]["metrics"] == ["rouge", "probability", "truth_ratio"]
    assert closer_look["partial"]["model_utility"] == pytest.approx(expected["tofu_model_utility_geometric"], **CLOSE)
    forget = expected["forget"]
    known = (forget["rouge"] + forget["probability"] + forget["truth_ratio_geometric"]) / 3
    assert closer_look["partial"]["forget_efficacy"] == pytest.approx(1 - known, **CLOSE)


def test_partial_model_utility_of_the_definition_paper_is_the_arithmetic_one(
    log: Path, expected: dict[str, Any]
) -> None:
    partial = score(log, "paper")["partial"]
    assert partial["model_utility"] == pytest.approx(expected["tofu_model_utility_arithmetic"], **CLOSE)


def test_forget_quality(log: Path, expected: dict[str, Any]) -> None:
    scores = score_path(log, definition="tofu", against=log.with_name("llama2-7b-retain90.json"))
    quality = expected["forget_quality_vs_llama2_retain90"]
    assert scores["forget_quality"]["p_value"] == pytest.approx(quality["p_value"], rel=1e-9)
    assert scores["forget_quality"]["statistic"] == pytest.approx(quality["statistic"], **CLOSE)
