"""Several requests by `efface run`, and `efface request add`: what they print, write and refuse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.fixture
def queue(place: Path) -> Path:
    """A working directory with `queue.yaml`, which asks to forget two files and keeps the rest of a third."""
    settings = yaml.safe_load((place / "mine.yaml").read_text())
    rows = [json.loads(line) for line in (place / "forget.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows[:3], 1):
        (place / f"gone{number}.jsonl").write_text(json.dumps(row) + "\n")
    settings |= {"data": {"retain": "retain.jsonl"}, "continual": {"requests": ["gone1.jsonl", "gone2.jsonl"]}}
    (place / "queue.yaml").write_text(yaml.safe_dump(settings))
    return place


@pytest.fixture
def one(queue: Path, efface: Command) -> tuple[Path, str]:
    """A finished queue of the first request, and what was printed."""
    ran = efface("run", "queue.yaml", "continual.requests=[gone1.jsonl]", "--out", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    return queue / "out", ran.stdout


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_run_and_add(queue: Path, one: tuple[Path, str], efface: Command) -> None:
    out, said = one
    assert said.endswith("model: out/requests/01/model\nscores: out/results.json\nnext: efface report out\n")
    assert [line for line in lines(said) if line[:2] == ["1:", "gone1.jsonl"]]
    assert (out / "requests" / "01" / "model").is_dir()

    dry = efface("request", "add", "out", "gone2.jsonl", "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "Dry run: nothing was trained or written" in dry.stdout
    assert "2 requests, 1 of them done" in " ".join(dry.stdout.split())
    assert "forgotten-1 1" in dry.stdout
    assert not (out / "requests" / "02").exists()

    ran = efface("request", "add", "out", "gone2.jsonl")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("model: out/requests/02/model\nscores: out/results.json\nnext: efface report out\n")
    results = json.loads((out / "results.json").read_text())
    assert results["requests"] == ["gone1.jsonl", "gone2.jsonl"]
    [first] = [line for line in lines(ran.stdout) if line[:2] == ["1:", "gone1.jsonl"]]
    assert first[2:] == [f"{value:.3f}".removeprefix("0") for value in results["forget_efficacy"][0]]
    assert not (out / "requests" / "01" / "model").exists()

    again = efface("run", "queue.yaml", "--out", "out", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert "request 2 of 2 (gone2.jsonl): unlearned already in" in " ".join(again.stdout.split())


@pytest.mark.usefixtures("one")
def test_requests_that_cannot_be_added(refused: Refused) -> None:
    held = "out contains gone1.jsonl already, as request 1; give one that is not in the queue"
    for arguments in (("gone1.jsonl",), ("gone1.jsonl", "--dry-run")):
        assert refused("request", "add", "out", *arguments) == held
    assert refused("request", "add", "out", "gone9.jsonl").startswith("request 2 (gone9.jsonl): ")
    assert refused("request", "add", "out", "2").startswith("continual.requests: numbers of tasks and files do not go")
    assert "retain.jsonl: after 2 request(s), nothing is left to keep" in refused(
        "request", "add", "out", "retain.jsonl"
    )


def test_where_there_is_no_queue(queue: Path, refused: Refused) -> None:
    said = "contains no queue of requests; start one with efface run and continual.requests"
    assert refused("request", "add", "nowhere", "1") == f"nowhere {said}"
    (queue / "other").mkdir()
    (queue / "other" / "config.yaml").write_text("model: a\n")
    assert refused("request", "add", "other", "1") == f"other {said}"


def test_refused_before_anything_is_written(queue: Path, refused: Refused) -> None:
    (queue / "same.jsonl").write_bytes((queue / "gone1.jsonl").read_bytes())
    for requests, message in (
        ("[gone1.jsonl, gone1.jsonl]", "continual.requests: gone1.jsonl is asked to be forgotten twice; remove one"),
        ("[gone1.jsonl, same.jsonl]", "request 2 (same.jsonl): same.jsonl holds nothing that was not forgotten before"),
        ("[gone1.jsonl, retain.jsonl]", "request 2 (retain.jsonl): retain.jsonl: after 2 request(s), nothing is left"),
        ("[gone1.jsonl, gone9.jsonl]", "request 2 (gone9.jsonl): "),
    ):
        command = ("run", "queue.yaml", f"continual.requests={requests}", "--out", "out")
        assert refused(*command).startswith(message)
        assert refused(*command, "--dry-run").startswith(message)
    several = "continual lists several requests, and this takes one; use efface run"
    assert refused("unlearn", "queue.yaml", "--out", "out") == several


def test_request_alone_shows_its_help(efface: Command) -> None:
    ran = efface("request")
    assert ran.returncode == 2
    assert "efface request add runs/queue gone.csv" in ran.stdout
