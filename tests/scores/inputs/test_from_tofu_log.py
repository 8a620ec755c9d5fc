from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.scores import score_path
from efface.scores.inputs.eval_logs import read_log

Block = Callable[..., dict[str, Any]]
Write = Callable[[Any], Path]


def test_keys_and_lists_read_the_same(make_block: Block, write_log: Write) -> None:
    block = make_block()
    keyed = read_log(write_log({"eval_log.json": block}))
    listed = read_log(write_log({"eval_log.json": {name: list(column.values()) for name, column in block.items()}}))
    assert keyed == listed
    assert [inputs.id for inputs in keyed["retain"]] == ["0", "1"]


def test_indices_are_sorted_as_numbers(make_block: Block, write_log: Write) -> None:
    losses = {str(i): float(i) for i in (10, 9, 0, 2)}
    (questions,) = read_log(write_log({"eval_log_forget.json": {"avg_gt_loss": losses}})).values()
    assert [(question.id, question.answer_logp) for question in questions] == [
        ("0", 0.0),
        ("2", -2.0),
        ("9", -9.0),
        ("10", -10.0),
    ]


def test_columns_are_matched_by_index_and_not_by_order(make_block: Block, write_log: Write) -> None:
    swapped = make_block(avg_gt_loss={"1": 1.0, "0": 3.0})
    (questions,) = read_log(write_log({"eval_log.json": swapped})).values()
    assert [question.answer_logp for question in questions] == [-3.0, -1.0]


def test_a_log_of_the_papers_code(make_block: Block, write_log: Write) -> None:
    block = make_block(
        generated_text=[["q", "She was born in Bergen.", "She was born in Oslo.", "long"], ["q", "no", "yes", "long"]],
        cosine_similarity=[0.5, 0.0],
        token_entropy=[0.9, 0.7],
        entailment_labels=["Entailment", "none"],
    )
    scores = score_path(write_log({"eval_log.json": block, "eval_log_forget.json": block}))
    # truth ratios: r = 2^-3 / 2^-1 and 1; both forms give 3/4 and 0
    expected = {
        "n": 2,
        "rouge": 0.4,
        "probability": 0.5,
        "truth_ratio": 0.375,
        "token_entropy": 0.8,
        "cosine_similarity": 0.25,
        "entailment": 0.5,
    }
    assert scores["sets"] == {"retain": pytest.approx(expected), "forget": pytest.approx(expected)}
    six = list(expected.values())[1:]
    assert scores["model_utility"] == scores["model_utility_retain"] == pytest.approx(6 / sum(1 / x for x in six))
    assert scores["forget_efficacy"] == pytest.approx(1 - (0.4 + 0.5 + 0.375 + 0.25 + 0.5) / 5)
    assert scores["missing"] == {}
    assert scores["embedder"] is scores["judge"] is None
    assert "notes" not in scores  # its entropies are those of the definition


def test_logs_have_no_cosine_for_the_definition_paper(make_block: Block, write_log: Write) -> None:
    log = write_log({"eval_log.json": make_block(cosine_similarity=[0.5, 0.5])})
    scores = score_path(log, definition="paper")
    assert scores["sets"]["retain"]["cosine_similarity"] is None
    assert scores["missing"]["cosine_similarity"] == (
        "retain: there is no cosine of the output with the output before unlearning"
    )


def test_logged_rouge_is_used_without_texts(make_block: Block, write_log: Write) -> None:
    block = make_block(rougeL_recall=[0.25, 0.75])
    del block["generated_text"]
    assert score_path(write_log({"eval_log.json": block}))["sets"]["retain"]["rouge"] == 0.5


def test_metrics_of_a_missing_column_are_missing_with_a_reason(make_block: Block, write_log: Write) -> None:
    block = make_block()
    del block["average_perturb_loss"]
    scores = score_path(write_log({"eval_real_author_wo_options.json": block, "eval_log_forget.json": make_block()}))
    assert scores["sets"]["real_authors"]["probability"] is scores["sets"]["real_authors"]["truth_ratio"] is None
    assert scores["missing"]["probability"] == "real_authors: there are no wrong answers to normalize over"
    assert scores["missing"]["truth_ratio"] == "real_authors: there are no wrong answers to compare with"
    assert scores["partial"]["metrics"] == ["rouge"]


def test_a_metric_of_some_questions_is_missing_with_counts(make_block: Block, write_log: Write) -> None:
    log = write_log({"eval_log.json": make_block(average_perturb_loss=[[1.0], []])})
    scores = score_path(log)
    assert scores["sets"]["retain"]["truth_ratio"] is None
    assert scores["missing"]["truth_ratio"] == (
        "retain (1 of 2 questions, first 1): there are no wrong answers to compare with"
    )


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"avg_gt_loss": [0.1]}, "avg_gt_loss has 1 questions and generated_text 2, or not the same indices; write"),
        ({"avg_gt_loss": {"0": 0.1, "2": 0.1}}, "or not the same indices; write the log again"),
        ({"avg_gt_loss": [0.1, "x"]}, "avg_gt_loss, question 1: a number is expected, not 'x'; write the log again"),
        ({"avg_gt_loss": [0.1, True]}, "question 1: a number is expected, not True"),
        ({"avg_gt_loss": [0.1, None]}, "question 1: a number is expected, not None"),
        ({"avg_gt_loss": [float("nan"), 0.1]}, "question 0: a finite number is expected, not nan"),
        ({"avg_gt_loss": [float("inf"), 0.1]}, "question 0: a finite number is expected, not inf"),
        ({"avg_gt_loss": [10**400, 0.1]}, "question 0: a finite number is expected, not inf"),
        ({"avg_gt_loss": [-5, 0.1]}, "avg_gt_loss, question 0: a loss is -5.0, which is not between -0.001 and 1e+39"),
        ({"avg_gt_loss": {"zero": 0.1, "1": 0.1}}, "'zero' is not the index of a question; use whole numbers as keys"),
        ({"avg_gt_loss": {"1": 0.1, "01": 0.1}}, "question 1 is repeated; keep one entry for each"),
        ({"avg_gt_loss": "0.1"}, "a column is a list or an object keyed by index, not '0.1'"),
        ({"average_perturb_loss": [1.0, 2.0]}, "a list of losses, one for each wrong answer, is expected, not 1.0"),
        ({"average_perturb_loss": [[1.0], [None]]}, "question 1: a number is expected, not None"),
        (
            {"generated_text": [["q", "a"], ["q", "a", "b"]]},
            "question 0: a list of 3 or 4 texts (prompt",
        ),
        ({"generated_text": [["q", "a", 3], ["q", "a", "b"]]}, "answer) is expected, not ['q', 'a', 3]"),
        ({"rougeL_recall": [1.5, 0]}, "question 0: the logged ROUGE is 1.5, which is not between 0 and 1"),
        ({"cosine_similarity": [0.5, 7]}, "question 1: a cosine is 7.0"),
        ({"token_entropy": [0.5, 2]}, "question 1: the token entropy is 2.0"),
        (
            {"entailment_labels": ["LABEL_0", "none"]},
            "question 0: 'label_0' is not an entailment label (allowed: entail",
        ),
        ({"entailment_labels": [1, 0]}, "question 0: an entailment label is a text, not 1"),
    ],
)
def test_damaged_columns(make_block: Block, write_log: Write, columns: dict[str, Any], named: str) -> None:
    path = write_log({"eval_log.json": make_block(**columns)})
    with pytest.raises(EffaceError, match=re.escape(named)) as error:
        score_path(path)
    assert str(error.value).startswith(f"{path}, eval_log.json")


@pytest.mark.parametrize(
    ("log", "named"),
    [
        ([1, 2], "a log is an object with at least one set, not [1, 2]; give an eval_log_aggregated.json"),
        ({}, "a log is an object with at least one set, not {}"),
        ({"eval_log": {}}, "'eval_log' is not a set of a TOFU eval log; did you mean 'eval_log.json'?"),
        ({"eval_log.json": 3}, "eval_log.json: a set is an object of columns, not 3"),
        ({"eval_log.json": {"loss": [1.0]}}, "eval_log.json: it has none of the columns generated_text,"),
        ({"eval_log.json": {"avg_gt_loss": []}}, "eval_log.json: the set has no questions"),
    ],
)
def test_json_of_another_shape(write_log: Write, log: Any, named: str) -> None:
    with pytest.raises(EffaceError, match=re.escape(named)):
        score_path(write_log(log))


@pytest.mark.parametrize("content", [b"", b'{"eval_log.json": {', b"\xff\xfe\x00", b"[" * 100_000])
def test_not_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(content)
    with pytest.raises(EffaceError, match=r"log\.json is not a JSON file \(.*\); give an eval_log_aggregated\.json"):
        score_path(path)


def test_output_is_json(make_block: Block, write_log: Write) -> None:
    json.dumps(score_path(write_log({"eval_log.json": make_block()})), allow_nan=False)


def test_a_file_that_cannot_be_read(write_log: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    log = write_log({})
    monkeypatch.setattr("efface.scores.inputs.eval_logs.read_json", denied)
    with pytest.raises(EffaceError, match=r"cannot read .*: Permission denied; give a file that can be read"):
        read_log(log)
