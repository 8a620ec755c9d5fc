"""`efface request add`, and `efface run` with several requests: what they print, write and refuse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.fixture
def queue(place: Path) -> Path:
    """A working directory with `queue.yaml`: two files to forget, one after another, and a retain set."""
    settings = yaml.safe_load((place / "mine.yaml").read_text())
    rows = [json.loads(line) for line in (place / "forget.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows[:3], 1):
        (place / f"gone{number}.jsonl").write_text(json.dumps(row) + "\n")
    settings |= {"data": {"retain": "retain.jsonl"}, "continual": {"requests": ["gone1.jsonl", "gone2.jsonl"]}}
    (place / "queue.yaml").write_text(yaml.safe_dump(settings))
    return place


@pytest.fixture
def first_request(queue: Path, efface: Command) -> tuple[Path, str]:
    """A finished queue of the first request, and what was printed."""
    ran = efface("run", "queue.yaml", "continual.requests=[gone1.jsonl]", "--out", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    return queue / "out", ran.stdout


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_run_and_add(queue: Path, first_request: tuple[Path, str], efface: Command) -> None:
    out, printed = first_request
    assert printed.endswith("model: out/requests/01/model\nscores: out/results.json\nnext: efface report out\n")
    assert [line for line in lines(printed) if line[:2] == ["1:", "gone1.jsonl"]]
    assert (out / "requests" / "01" / "model").is_dir()

    dry = efface("request", "add", "out", "gone2.jsonl", "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert_names(" ".join(dry.stdout.split()), "Dry run: nothing was trained or written", "2 requests, 1 ")
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
    assert "request 2 of 2 (gone2.jsonl): " in " ".join(again.stdout.split())


@pytest.mark.usefixtures("first_request")
def test_requests_that_cannot_be_added(refused: Refused) -> None:
    cases = {
        "gone1.jsonl": ["out", "gone1.jsonl", "request 1"],
        "gone9.jsonl": ["request 2", "gone9.jsonl"],
        "2": ["continual.requests", "numbers", "files"],
        "retain.jsonl": ["retain.jsonl", "after 2 request(s)"],
    }
    for request, parts in cases.items():  # one queue for all of them
        for flags in ((), ("--dry-run",)):
            assert_names(refused("request", "add", "out", request, *flags), *parts)


def test_where_there_is_no_queue(queue: Path, refused: Refused) -> None:
    (queue / "other").mkdir()
    (queue / "other" / "config.yaml").write_text("model: a\n")
    for folder in ("nowhere", "other"):
        assert_names(refused("request", "add", folder, "1"), folder, "efface run", "continual.requests")


@pytest.mark.parametrize(
    ("requests", "parts"),
    [
        ("[gone1.jsonl, gone1.jsonl]", ["continual.requests", "gone1.jsonl", "twice"]),
        ("[gone1.jsonl, same.jsonl]", ["request 2", "same.jsonl"]),
        ("[gone1.jsonl, retain.jsonl]", ["request 2", "retain.jsonl", "after 2 request(s)"]),
        ("[gone1.jsonl, gone9.jsonl]", ["request 2", "gone9.jsonl"]),
    ],
)
def test_refused_before_anything_is_written(queue: Path, refused: Refused, requests: str, parts: list[str]) -> None:
    (queue / "same.jsonl").write_bytes((queue / "gone1.jsonl").read_bytes())
    command = ("run", "queue.yaml", f"continual.requests={requests}", "--out", "out")
    for flags in ((), ("--dry-run",)):
        assert_names(refused(*command, *flags), *parts)


@pytest.mark.usefixtures("queue")
def test_unlearn_takes_one_request(refused: Refused) -> None:
    assert_names(refused("unlearn", "queue.yaml", "--out", "out"), "continual", "efface run")


def test_the_group_alone_prints_its_help(efface: Command) -> None:
    ran = efface("request")
    assert ran.returncode == 2
    assert "efface request add runs/queue next.csv" in ran.stdout
