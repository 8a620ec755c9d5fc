"""A folder of runs, evaluations, queues, logs and other things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.artifacts import ContinualResults, write_records
from efface.atomic import write_json
from efface.errors import EffaceError
from efface.scores import score_path, score_records
from efface.scores.definitions import CLOSER_LOOK
from efface.scores.from_tofu_log import SETS
from efface.scores.leaderboard.discover import Source, UnreadableSource, find_sources, read_source
from efface.scores.leaderboard.leaderboard import compare, leaderboard
from support.answered import Sets, answered, write_run


def log_of(sets: Sets) -> dict[str, Any]:
    """The same as TOFU would log it: without cosine and label."""
    blocks = {name: block for block, name in SETS.items()}

    def loss(logprobs: list[float] | None) -> float:
        assert logprobs is not None
        return -sum(logprobs) / len(logprobs)

    return {
        blocks[name]: {
            "generated_text": {
                str(n): [f"[INST] {r.question} [/INST]", r.output, r.answer] for n, r in enumerate(rows)
            },
            "avg_gt_loss": {str(n): loss(r.answer_logprobs) for n, r in enumerate(rows)},
            "avg_paraphrased_loss": {str(n): loss(r.paraphrased_logprobs) for n, r in enumerate(rows)},
            "average_perturb_loss": {str(n): [loss(x) for x in r.perturbed_logprobs] for n, r in enumerate(rows)},
        }
        for name, rows in sets.items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, an evaluation and a log of the same questions; a run with others; and what is none of them."""
    root = tmp_path / "runs"
    write_run(root / "one", answered(1), answered(2))
    write_run(root / "deep" / "two", answered(1), answered(3), "npo+kl")
    for name, rows in answered(4).items():
        write_records(root / "asked" / "records" / f"{name}.jsonl", rows)
    (root / "asked" / "scores.json").write_text("{}")
    write_json(root / "log.json", log_of(answered(5)))
    write_run(root / "other", answered(1, 9), answered(2, 9))
    (root / "table.json").write_text("{}")
    (root / "notes.json").write_text("[1]")
    (root / "begun").mkdir()
    for name in ("config.yaml", "manifest.json", "half.json"):
        (root / "begun" / name).touch()
    write_run(root / ".cache" / "one", answered(1), answered(2))
    (root / "damaged").mkdir()
    (root / "damaged" / "results.json").write_text("{")
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text("{}")
    (root / "model" / "model.safetensors").touch()
    return root


def test_what_is_found_in_a_folder(folder: Path) -> None:
    found = leaderboard([folder], draws=100)
    first, second = found.boards
    assert {(row.name, row.kind, row.method) for row in first.rows} == {
        ("one", "run", "me+gd"),
        ("deep/two", "run", "npo+kl"),
        ("asked", "evaluation", None),
        ("log.json", "log", None),
    }
    assert [row.name for row in second.rows] == ["other"]
    assert second.apart == "other has 9 questions and not 7 on retain, as log.json"
    assert first.apart is None
    assert first.partial == ["rouge", "probability", "truth_ratio"]
    assert {Path(each.path).name: each.reason for each in found.unread} == {
        "begun": "it is not finished, or its model was not evaluated (no results.json)",
        "damaged": "its results.json is damaged, or not that of a run",
        "notes.json": "a log is an object with a set or more, not [1]; give an eval_log_aggregated.json as TOFU "
        "writes it",
    }


def test_scores_are_those_of_score(folder: Path) -> None:
    (board,) = leaderboard([folder / "one", folder / "deep" / "two"], definition="paper", draws=100).boards
    for row in board.rows:
        plain = score_path(row.name, definition="paper")
        assert row.model_utility is not None
        assert row.forget_efficacy is not None
        assert row.model_utility.value == plain["model_utility"]
        assert row.forget_efficacy.value == plain["forget_efficacy"]
        for name, metrics in row.sets.items():
            assert {metric: each and each.value for metric, each in metrics.items()} == {
                metric: plain["sets"][name][metric] for metric in metrics
            }


def test_a_queue_is_its_last_request(tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    for number in (1, 2):
        write_run(queue / "requests" / f"0{number}", answered(1), answered(number))
    scores = score_records(answered(1), "closer-look")
    results = ContinualResults(
        definition="closer-look",
        method="me+gd",
        requests=["a", "b"],
        before=scores,
        after=[scores, scores],
        metrics=[],
        forget_efficacy=[],
    )
    write_json(queue / "results.json", results.to_json())
    (source,) = find_sources([tmp_path])
    assert isinstance(source, Source)
    assert (source.name, source.kind, source.method) == ("queue", "queue", "me+gd")
    assert read_source(source, CLOSER_LOOK).sets["retain"].outputs == tuple(row.output for row in answered(2)["retain"])


def test_a_path_is_taken_once(folder: Path) -> None:
    sources = [each for each in find_sources([folder, folder / "one"]) if isinstance(each, Source)]
    names = [each.name for each in sources]
    assert len(names) == len(set(names)) == 6
    assert str(folder / "one") in names


def test_damaged_records_are_told(folder: Path) -> None:
    path = folder / "one" / "records" / "after" / "forget.jsonl"
    path.write_text(path.read_text() + "{}\n")
    found = leaderboard([folder], draws=100)
    (reason,) = (each.reason for each in found.unread if "one" in each.path.split("/"))
    assert "forget.jsonl, line 8: not an efface record" in reason
    mixed = [row.model_copy(update={"judge": "another"}) for row in answered(3)["forget"]]
    write_records(folder / "deep" / "two" / "records" / "after" / "forget.jsonl", mixed)
    found = leaderboard([folder], draws=100)
    assert any("more than one judge" in each.reason for each in found.unread)


def test_nothing_to_rank(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match="there is no run, evaluation or eval log that can be scored; make one with"):
        leaderboard([tmp_path])
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(EffaceError, match=r"can be scored \(.*a.json: .*is not a JSON file"):
        leaderboard([tmp_path])
    with pytest.raises(EffaceError, match="nowhere does not exist; give a folder of runs"):
        leaderboard([tmp_path / "nowhere"])


def test_differences_of_two_or_of_one(folder: Path) -> None:
    two = compare([folder / "one", folder / "log.json"])
    assert (two.first, two.second) == (str(folder / "one"), str(folder / "log.json"))
    assert all(each.question == f"Where was author {each.id.split('/')[1]} born?" for each in two.questions)
    one = compare([folder / "one"])
    assert (one.first, one.second) == ("one (before)", "one")
    said = {(each.set, each.id): each for each in one.questions}
    for name, rows in answered(1).items():
        for row in rows:
            assert said[name, row.id].first.output == row.output
    with pytest.raises(EffaceError, match="are those between two models, and here are 3"):
        compare([folder / "one", folder / "deep", folder / "log.json"])
    with pytest.raises(EffaceError, match="begun cannot be compared: it is not finished"):
        compare([folder / "one", folder / "begun"])
    with pytest.raises(EffaceError, match=r"log\.json holds no model before unlearning"):
        compare([folder / "log.json"])


def test_unread_is_no_source(folder: Path) -> None:
    assert {type(each) for each in find_sources([folder / "begun"])} == {UnreadableSource}


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
