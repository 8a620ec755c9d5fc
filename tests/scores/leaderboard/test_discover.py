"""Runs, queues, evaluations and logs are found in folders."""

from __future__ import annotations

from pathlib import Path

from efface.artifacts import ContinualResults
from efface.files.atomic import write_json
from efface.scores import score_records
from efface.scores.definitions import CLOSER_LOOK
from efface.scores.leaderboard.discover import Source, UnreadableSource, find_sources, read_source
from support.answered import answered, write_run


def test_a_queue_is_read_after_its_last_request(tmp_path: Path) -> None:
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


def test_overlapping_paths_give_each_source_once(folder: Path) -> None:
    sources = [each for each in find_sources([folder, folder / "one"]) if isinstance(each, Source)]
    names = [each.name for each in sources]
    assert len(names) == len(set(names)) == 6
    assert str(folder / "one") in names


def test_unfinished_runs_are_not_sources(folder: Path) -> None:
    assert {type(each) for each in find_sources([folder / "unfinished"])} == {UnreadableSource}
