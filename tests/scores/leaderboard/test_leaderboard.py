"""Boards of a folder of runs, evaluations and logs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from efface.artifacts import Manifest
from efface.errors import EffaceError
from efface.files.folders import Stage
from efface.records import write_records
from efface.scores import score_path
from efface.scores.leaderboard.leaderboard import compare, leaderboard
from support.answered import answered
from support.messages import assert_names


def test_everything_in_a_folder_is_ranked_or_reported(folder: Path) -> None:
    found = leaderboard([folder], draws=100)
    first, second = found.boards
    assert {(row.name, row.kind, row.method) for row in first.rows} == {
        ("one", "run", "me+gd"),
        ("deep/two", "run", "npo+kl"),
        ("evaluated", "evaluation", None),
        ("log.json", "log", None),
        ("deep/two (before)", "before", None),  # once, for both runs
    }
    assert {row.name for row in second.rows} == {"other", "other (before)"}
    assert second.not_comparable_reason == "other has 9 questions and not 7 on retain, as log.json"
    assert first.not_comparable_reason is None
    assert first.partial == ["rouge", "probability", "truth_ratio"]
    assert {Path(each.path).name: each.reason for each in found.unread} == {
        "unfinished": "it is not finished, or its model was not evaluated (no results.json)",
        "damaged": "its results.json is damaged, or was not written by a run",
        "notes.json": "a log is an object with at least one set, not [1]; give an eval_log_aggregated.json as TOFU "
        "writes it, or a TOFU_EVAL.json of open-unlearning",
    }


def test_a_baseline_that_was_evaluated_is_listed_once_and_a_fine_tuning_not_at_all(
    folder: Path, made: Manifest
) -> None:
    """The folder of `efface demo`."""
    before = folder / "evaluated" / "records"
    for name, rows in answered(1).items():
        write_records(before / f"{name}.jsonl", rows)
    target = folder / "target"
    (target / "model").mkdir(parents=True)
    (target / "config.yaml").touch()
    (target / "manifest.json").write_text(made.model_copy(update={"seconds": {"finetune": 1.0}}).model_dump_json())
    found = leaderboard([folder / "one", folder / "deep" / "two", folder / "evaluated", target], draws=100)
    (board,) = found.boards
    assert {(Path(row.name).name, row.kind) for row in board.rows} == {
        ("one", "run"),
        ("two", "run"),
        ("evaluated", "before"),
    }
    assert found.unread == []
    (target / "model").rmdir()
    (unread,) = leaderboard([folder / "one", target], draws=100).unread
    assert "not finished" in unread.reason


def test_unseen_items_do_not_keep_a_model_from_the_board_of_the_others(folder: Path) -> None:
    """Results of open-unlearning do not have them."""
    holdout = [row.model_copy(update={"set": "holdout"}) for row in answered(4)["forget"]]
    write_records(folder / "evaluated" / "records" / "holdout.jsonl", holdout)
    (board,) = leaderboard([folder / "evaluated", folder / "log.json"], draws=100).boards
    assert len(board.rows) == 2
    assert "holdout" not in board.questions


def test_values_are_those_of_score(folder: Path) -> None:
    (board,) = leaderboard([folder / "one", folder / "deep" / "two"], definition="paper", draws=100).boards
    for row in board.rows:
        before = row.name == "before unlearning"
        stage: Stage = "before" if before else "after"
        plain = score_path(folder / "one" if before else row.name, definition="paper", stage=stage)
        assert row.model_utility is not None
        assert row.forget_efficacy is not None
        assert row.model_utility.value == plain["model_utility"]
        assert row.forget_efficacy.value == plain["forget_efficacy"]
        for name, metrics in row.sets.items():
            assert {metric: each and each.value for metric, each in metrics.items()} == {
                metric: plain["sets"][name][metric] for metric in metrics
            }


def test_a_model_whose_records_have_another_entropy_is_named(folder: Path) -> None:
    paths = [folder / "one", folder / "deep" / "two"]
    for name, rows in answered(2).items():
        new = [row.model_copy(update={"retokenized_output_ids": row.output_token_ids}) for row in rows]
        write_records(folder / "one" / "records" / "after" / f"{name}.jsonl", new)
    for path in paths:
        shutil.rmtree(path / "records" / "before")
    (board,) = leaderboard(paths, draws=100).boards
    assert_names(board.notes["token_entropy"], "two: of the tokens as generated", "closer-look")
    assert "one" not in board.notes["token_entropy"].partition(":")[0]
    assert leaderboard(paths[:1], draws=100).boards[0].notes == {}
    assert leaderboard(paths, definition="tofu", draws=100).boards[0].notes == {}


def test_a_pipe_among_the_records_before_is_reported_and_not_waited_for(folder: Path) -> None:
    pipe = folder / "one" / "records" / "before" / "forget.jsonl"
    pipe.unlink()
    os.mkfifo(pipe)
    (unread,) = leaderboard([folder / "one"], draws=100).unread
    assert unread.path == str(pipe.parent)
    assert unread.reason.startswith("forget.jsonl is a pipe")


def test_damaged_records_are_reported(folder: Path) -> None:
    path = folder / "one" / "records" / "after" / "forget.jsonl"
    path.write_text(path.read_text() + "{}\n")
    found = leaderboard([folder], draws=100)
    (reason,) = (each.reason for each in found.unread if "one" in each.path.split("/"))
    assert "forget.jsonl, line 8: not an efface record" in reason
    mixed = [row.model_copy(update={"judge": "another"}) for row in answered(3)["forget"]]
    write_records(folder / "deep" / "two" / "records" / "after" / "forget.jsonl", mixed)
    found = leaderboard([folder], draws=100)
    assert any("more than one judge" in each.reason for each in found.unread)


@pytest.mark.parametrize(
    ("files", "folder", "named"),
    [
        ({}, ".", "there is no run, evaluation or eval log that can be scored; make one with"),
        ({"a.json": "{"}, ".", r"can be scored \(.*a.json: .*is not a JSON file"),
        ({}, "nowhere", "nowhere does not exist; give a folder of runs"),
    ],
)
def test_folders_without_models_are_refused(tmp_path: Path, files: dict[str, str], folder: str, named: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(EffaceError, match=named):
        leaderboard([tmp_path / folder])


def test_differences_of_two_or_of_one(folder: Path) -> None:
    two = compare([folder / "one", folder / "log.json"])
    assert (two.first, two.second) == (str(folder / "one"), str(folder / "log.json"))
    assert all(each.question == f"Where was author {each.id.split('/')[1]} born?" for each in two.questions)
    one = compare([folder / "one"])
    assert (one.first, one.second) == ("one (before)", "one")
    by_id = {(each.set, each.id): each for each in one.questions}
    for name, rows in answered(1).items():
        for row in rows:
            assert by_id[name, row.id].first.output == row.output


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("one", "deep", "log.json"), "between two models, and there are 3"),
        (("one", "unfinished"), "unfinished cannot be compared: it is not finished"),
        (("log.json",), r"log\.json has no model before unlearning; give two models, or a run"),
    ],
)
def test_other_than_two_models_are_refused(folder: Path, names: tuple[str, ...], named: str) -> None:
    with pytest.raises(EffaceError, match=named):
        compare([folder / name for name in names])


def test_published_logs(shared: Path) -> None:
    found = leaderboard([shared / "golden" / "eval_logs"], definition="closer-look")
    (board,) = found.boards
    assert [row.name for row in board.rows] == ["llama2-7b-retain90.json", "llama2-7b-full.json"]
    assert len(found.unread) == 2
    (pair,) = board.pairs
    assert pair.significant
    for row in board.rows:
        log = shared / "golden" / "eval_logs" / row.name
        plain = score_path(log)["partial"]
        assert row.model_utility is not None
        assert row.model_utility.value == plain["model_utility"]
    assert json.loads(found.model_dump_json(by_alias=True))["schema"] == 1
