"""Results of open-unlearning as they are: the numbers of its own files, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.records import Record, write_records
from efface.scores import score_path
from efface.scores.inputs.eval_logs import read_log
from efface.scores.leaderboard.leaderboard import leaderboard
from support.messages import assert_names

GOLDEN = Path(__file__).parents[2] / "golden" / "open_unlearning"
SMOL, RETRAINED = GOLDEN / "ou_smol_TOFU_EVAL.json", GOLDEN / "ou_retrained_TOFU_EVAL.json"
SUMMARY = GOLDEN / "ou_smol_TOFU_SUMMARY.json"
CLOSE = {"abs": 1e-9, "rel": 0.0}
NAMES = {
    "forget": ("forget_Q_A_Prob", "forget_Q_A_ROUGE", "forget_truth_ratio"),
    "retain": ("retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"),
    "real_authors": ("ra_Q_A_Prob_normalised", "ra_Q_A_ROUGE", "ra_Truth_Ratio"),
    "world_facts": ("wf_Q_A_Prob_normalised", "wf_Q_A_ROUGE", "wf_Truth_Ratio"),
}
"""Set -> names of its probability, ROUGE and truth ratio in their files."""


def changed(folder: Path, **blocks: Any) -> Path:
    """A copy of their file in which blocks are replaced, or left out where None."""
    log = json.loads(SMOL.read_text()) | blocks
    path = folder / "TOFU_EVAL.json"
    path.write_text(json.dumps({name: block for name, block in log.items() if block is not None}))
    return path


@pytest.mark.parametrize("path", [SMOL, RETRAINED])
def test_scores_are_those_of_open_unlearning(path: Path) -> None:
    theirs = json.loads(path.read_text())
    ours = score_path(path, definition="open-unlearning")
    for name, metrics in NAMES.items():
        for metric, logged in zip(("probability", "rouge", "truth_ratio"), metrics, strict=True):
            assert ours["sets"][name][metric] == pytest.approx(theirs[logged]["agg_value"], **CLOSE), (name, metric)
    assert ours["model_utility"] == pytest.approx(theirs["model_utility"]["agg_value"], **CLOSE)
    assert ours["logged"] == {name: block["agg_value"] for name, block in theirs.items()}
    assert ours["definition_version"].startswith("d3d7cf9")


@pytest.mark.parametrize("path", [SMOL, RETRAINED])
def test_memorization_is_that_of_open_unlearning(path: Path) -> None:
    theirs = json.loads(path.read_text())
    forget = score_path(path, definition="open-unlearning")["sets"]["forget"]
    for metric in ("extraction_strength", "exact_memorization"):
        assert forget[metric] == pytest.approx(theirs[metric]["agg_value"], abs=1e-7)  # they average in float32
    other = score_path(path, definition="paper")["sets"]["forget"]  # whose extraction strength may be 0, not 1 / T
    assert not {"extraction_strength", "exact_memorization"} & other.keys()
    (board,) = leaderboard([path], definition="open-unlearning", draws=10).boards
    assert board.rows[0].extraction_strength == {"forget": forget["extraction_strength"]}


def test_a_question_whose_memorization_they_could_not_compute(tmp_path: Path) -> None:
    block = json.loads(SMOL.read_text())["exact_memorization"]
    block["value_by_index"]["2"]["score"] = None
    forget = score_path(changed(tmp_path, exact_memorization=block), definition="open-unlearning")["sets"]["forget"]
    assert "exact_memorization" not in forget
    assert "extraction_strength" in forget


def test_gibberish(tmp_path: Path) -> None:
    scores = [index / 8 for index in range(8)]
    block = {"agg_value": 0.4375, "value_by_index": {str(i): {"score": each} for i, each in enumerate(scores)}}
    found = score_path(changed(tmp_path, forget_Q_A_gibberish=block))
    assert found["sets"]["forget"]["not_gibberish"] == 0.4375
    assert "not_gibberish" not in found["sets"]["retain"]


def test_forget_quality() -> None:
    quality = score_path(SMOL, definition="open-unlearning", against=RETRAINED)["forget_quality"]
    expected = json.loads(SMOL.read_text())["forget_quality"]["agg_value"]
    assert quality["p_value"] == pytest.approx(expected, **CLOSE)


def test_a_summary_has_aggregates_alone() -> None:
    scores = score_path(SUMMARY, definition="open-unlearning")
    assert scores["logged"] == json.loads(SUMMARY.read_text())
    assert scores["sets"] == {}
    with pytest.raises(EffaceError) as error:
        read_log(SUMMARY)
    assert_names(str(error.value), str(SUMMARY), "_EVAL.json")


def test_results_of_muse(tmp_path: Path) -> None:
    entry = {"rougeL_f1": 0.5, "input": "Q", "ground_truth": "In Oslo.", "generation": "She lives in Oslo."}
    block = {"agg_value": 0.5, "value_by_index": {"0": entry, "1": entry}}
    path = tmp_path / "MUSE_EVAL.json"
    metrics = ("forget_knowmem_ROUGE", "retain_knowmem_ROUGE", "forget_verbmem_ROUGE")
    path.write_text(json.dumps({**dict.fromkeys(metrics, block), "privleak": {"agg_value": -99.5}}))
    scores = score_path(path)
    sets = ("retain", "forget", "forget_knowledge")
    assert {name: each["rouge"] for name, each in scores["sets"].items()} == dict.fromkeys(sets, 1.0)
    assert [scores["sets"][name]["custom"]["rouge_l_f1"] for name in sets] == pytest.approx([2 * 2 / (2 + 4)] * 3)
    assert scores["logged"] == {**dict.fromkeys(metrics, 0.5), "privleak": -99.5}


def test_theirs_and_ours_are_in_one_table(tmp_path: Path) -> None:
    for name, questions in read_log(SMOL).items():
        records = [
            Record(set=name, id=f"{name}/{question.id}", question="?", answer=question.answer, output=question.output,
                   output_token_ids=[], retokenized_output_ids=[], answer_logprobs=[-1.0],
                   paraphrased_logprobs=[-1.0], perturbed_logprobs=[[-2.0]], embedding_target="", embedder=None,
                   cosine_answer=None, cosine_before=None, entailment_target="", entailment_premise="answer",
                   judge=None, entailment_label=None)
            for question in questions
        ]  # fmt: skip
        write_records(tmp_path / "ours" / "records" / f"{name}.jsonl", records)
    (tmp_path / "ours" / "scores.json").write_text("{}")
    for source in (SMOL, SUMMARY):
        target = tmp_path / "theirs" / source.name.removeprefix("ou_smol_")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    found = leaderboard([tmp_path], draws=100)
    (board,) = found.boards
    assert sorted(row.name for row in board.rows) == ["ours", "theirs/TOFU_EVAL.json"]
    assert found.unread == []  # the summary is that of the other file


def without(metric: str, *, key: str) -> dict[str, Any]:
    block = json.loads(SMOL.read_text())[metric]
    del block["value_by_index"][key]
    return {metric: block}


def scores_of(count: int, last: object = 0.5) -> dict[str, Any]:
    return {
        "agg_value": 0.5,
        "value_by_index": {str(i): {"score": 0.5} for i in range(count - 1)} | {str(count - 1): {"score": last}},
    }


def with_losses(losses: list[float]) -> dict[str, Any]:
    block = json.loads(SMOL.read_text())["forget_Q_A_PERT_Prob"]
    block["value_by_index"]["3"] = {"prob": [0.5], "avg_loss": losses}
    return {"forget_Q_A_PERT_Prob": block}


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ({"forget_Q_A_Probb": {"agg_value": 1.0}}, ["'forget_Q_A_Probb'", "forget_Q_A_Prob"]),
        ({"forget_Q_A_Prob": {"agg_value": 1.0}}, ["forget_Q_A_Prob", "value_by_index"]),
        ({"forget_Q_A_Prob": {"agg_value": 1.0, "value_by_index": {"x": {}}}}, ["forget_Q_A_Prob", "'x'"]),
        ({"forget_Q_A_Prob": {"agg_value": 1.0, "value_by_index": {"0": None}}}, ["forget_Q_A_Prob", "0", "None"]),
        (without("forget_Q_A_ROUGE", key="3"), ["forget_Q_A_ROUGE", "7 questions"]),
        ({"extraction_strength": scores_of(7)}, ["extraction_strength", "7 questions", "8"]),
        ({"exact_memorization": scores_of(8, last=1.5)}, ["exact_memorization", "question 7", "1.5"]),
        ({"forget_Q_A_gibberish": scores_of(8, last="x")}, ["forget_Q_A_gibberish", "question 7", "'x'"]),
        ({"privleak": {"agg_value": "high"}}, ["privleak", "'high'"]),
        (with_losses([10**400]), ["forget", "question 3", "a loss is inf"]),
        (with_losses([1.0, 2.0]), ["forget", "question 3", "prob", "avg_loss 2"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, blocks: dict[str, Any], named: list[str]) -> None:
    path = changed(tmp_path, **blocks)
    with pytest.raises(EffaceError) as error:
        score_path(path)
    assert_names(str(error.value), str(path), *named)


@pytest.mark.parametrize("entry", [{"avg_loss": 1.0}, {"prob": 2.0, "avg_loss": 1.0}, {"prob": 0.5, "avg_loss": "1"}])
def test_a_question_without_its_numbers(tmp_path: Path, entry: dict[str, Any]) -> None:
    block = json.loads(SMOL.read_text())["ra_Q_A_Prob"]
    block["value_by_index"]["4"] = entry
    with pytest.raises(EffaceError) as error:
        score_path(changed(tmp_path, ra_Q_A_Prob=block))
    assert_names(str(error.value), "TOFU_EVAL.json", "ra", "question 4", "evaluate the model again")


def test_sets_that_were_not_evaluated_are_missing(tmp_path: Path) -> None:
    names = [name for name in json.loads(SMOL.read_text()) if name.startswith("wf_")]
    scores = score_path(changed(tmp_path, **dict.fromkeys(names)), definition="open-unlearning")
    assert "world_facts" not in scores["sets"]
    assert scores["model_utility"] is None
    assert "world_facts" in scores["missing"]["model_utility"]


def test_a_half_written_file(tmp_path: Path) -> None:
    path = tmp_path / "TOFU_EVAL.json"
    path.write_bytes(SMOL.read_bytes()[:5000])
    with pytest.raises(EffaceError) as error:
        score_path(path)
    assert_names(str(error.value), str(path), "not a JSON file", "TOFU_EVAL.json")


def test_a_file_without_questions(tmp_path: Path) -> None:
    path = tmp_path / "TOFU_EVAL.json"
    path.write_text(json.dumps({"privleak": {"agg_value": 1.0}}))
    with pytest.raises(EffaceError) as error:
        score_path(path)
    assert_names(str(error.value), str(path), "privleak", "eval/tofu.yaml")
