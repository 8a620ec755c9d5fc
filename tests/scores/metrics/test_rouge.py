from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics import rouge as module
from efface.scores.metrics.rouge import common_subsequence_length, rouge, rouge_1_recall, rouge_l_f1, rouge_l_recall

REFERENCE = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
WORDS = st.sampled_from(["Running", "runs", "a", "b", "the", "flies", "flying", "é", "ß", "x1", "-", "it's", "\n", "İ"])
TEXTS = st.lists(WORDS, max_size=90).map(" ".join) | st.text(max_size=40)


def score(answer: str, output: str) -> float | Missing:
    return rouge(MetricInputs(id="q", answer=answer, output=output))


def test_recall_is_over_the_answer() -> None:
    assert score("a b c d", "a x c") == 0.5
    assert score("a c", "a b c d") == 1.0
    assert score("a b", "b a") == 0.5  # a subsequence keeps the order
    assert score("yes", "") == 0.0


def test_words_are_stemmed_and_case_does_not_count() -> None:
    assert score("Running quickly!", "she runs quick") == 0.5  # running ~ runs; quickly -> quickli, not quick


def test_stems_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KNOWN_STEMS", 3)
    stemmed: list[str] = []
    stems = module._Stems(lambda word: stemmed.append(word) or word[:4])
    assert [stems[word] for word in ("running", "runner", "running", "a")] == ["runn", "runn", "runn", "a"]
    assert stemmed == ["running", "runner"]  # not the short one
    assert stems["walking"] == "walk"
    assert len(stems) == 1


def test_the_logged_value_is_used_only_without_texts() -> None:
    assert rouge(MetricInputs(id="q", logged_rouge=0.25)) == 0.25
    assert rouge(MetricInputs(id="q", answer="a b", output="a", logged_rouge=0.25)) == 0.5


def test_without_either_it_is_missing() -> None:
    assert rouge(MetricInputs(id="q", answer="a")) == Missing(
        "there are neither the texts of answer and output nor a logged ROUGE"
    )
    assert rouge(MetricInputs(id="q", missing={"rouge": "the power went out"})) == Missing("the power went out")


def test_an_answer_in_another_script_is_missing_and_not_zero() -> None:
    assert score("奥斯陆", "奥斯陆") == Missing("the answer has no letter a-z or digit, and ROUGE counts only those")
    assert score("Осло 1985", "1985") == 1.0


@given(answer=TEXTS, output=TEXTS)
def test_numbers_are_those_of_rouge_score(answer: str, output: str) -> None:
    expected = REFERENCE.score(answer, output)["rougeL"]
    assert rouge_l_recall(answer, output) == expected.recall
    assert abs(rouge_l_f1(answer, output) - expected.fmeasure) < 1e-12
    assert abs(rouge_1_recall(answer, output) - REFERENCE.score(answer, output)["rouge1"].recall) < 1e-12


@given(one=st.lists(st.sampled_from("abc"), max_size=80), other=st.lists(st.sampled_from("abc"), max_size=80))
def test_common_subsequence_length_is_that_of_the_table(one: list[str], other: list[str]) -> None:
    lengths = [0] * (len(other) + 1)
    for token in one:
        row = [0]
        for index, other_token in enumerate(other):
            row.append(lengths[index] + 1 if token == other_token else max(lengths[index + 1], row[-1]))
        lengths = row
    assert common_subsequence_length(one, other) == lengths[-1]
