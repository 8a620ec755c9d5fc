"""Provoke every fault and print a table: fault, tries, outcome. `python tests/torture/torture.py --help`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import damaged
import disks
import faults
import forked
import hostile
import interrupted
from victims import Try, commands


@dataclass
class Row:
    """One line of the table."""

    fault: str
    tries: int = 0
    held: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, problem: str | None) -> None:
        """Count a try."""
        self.tries += 1
        self.held += problem is None
        if problem is not None:
            self.problems.append(f"{name}: {problem}")


def attack(folder: Path, every: int) -> list[Row]:
    """Run the attacks of `hostile`.

    Args:
        folder: An empty folder.
        every: Run one attack of this many.

    Returns:
        A row for each group.
    """
    data = folder / "data.csv"
    data.write_text("question,answer\n" + "".join(f"Who is {n}?,Person {n}.\n" for n in range(8)), encoding="utf-8")
    settings = [f"data.forget={data}", f"model={hostile.MODEL}", "method=ga", "text.format=plain", "train.epochs=1"]
    cheap = ["evaluate.max_new_tokens=2", "evaluate.embedder=none", "evaluate.judge=none", "device=cpu"]
    run = folder / "run"
    ended = forked.run(["run", *settings, *cheap, "--out", run], folder)
    assert ended.code == 0, ended.stderr
    rows = []
    for fault, attacks in hostile.GROUPS.items():
        row = Row(fault)
        for name, make in [*attacks()][::every]:
            place = hostile.Place(folder / "attack", run, data)
            place.folder.mkdir()
            ended = forked.run(make(place), place.folder)
            row.add(name, ended.problem)
            cost = f"{ended.seconds:.1f} s, {ended.mib:.0f} MiB"
            print(f"{fault}: {name}: exit code {ended.code}, {cost}", ended.problem or "held", file=sys.stderr)
            print(f"    {ended.stderr.strip()[:200]}", file=sys.stderr, flush=True)
            shutil.rmtree(place.folder)
        rows.append(row)
    return rows


def provoke(tries: Iterable[Try], every: int = 1) -> list[Row]:
    """Make tries, of each fault one of so many; returns a row for each fault."""
    rows: dict[str, Row] = {}
    seen: Counter[str] = Counter()
    for fault, name, work in tries:
        seen[fault] += 1
        if (seen[fault] - 1) % every:
            continue
        problem = work()
        rows.setdefault(fault, Row(fault)).add(name, problem)
        print(f"{fault}: {name}:", problem or "held", file=sys.stderr, flush=True)
    return [*rows.values()]


def _all_rows(folder: Path, options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    names = ("hostile", "victims", "interrupted", "faults", "damaged", "disks")
    places = {name: folder / name for name in names}
    for place in places.values():
        place.mkdir()
    if options.only in (None, "hostile"):
        rows += attack(places["hostile"], options.every)
    if options.only == "hostile":
        return rows
    made = commands(places["victims"])
    if options.only in (None, "interrupted"):
        rows += provoke(interrupted.tries(places["interrupted"], made, options.kills, options.seed))
    if options.only in (None, "faults"):
        every = 1 if options.every == 1 else 3 * options.every  # they take longer than hostile inputs
        rows += provoke(faults.tries(places["faults"], made), every)
        rows += provoke(damaged.tries(places["damaged"], made, options.seed), every)
        rows += provoke(disks.tries(places["disks"], made), every)
    return rows


def main() -> int:
    """Run what the arguments choose; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["hostile", "interrupted", "faults"], help="run these faults alone")
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        help="run one hostile input of this many, one other fault of 3 times as many",
    )
    parser.add_argument("--kills", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills and of the damaged bytes")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    forked.import_libraries()
    with tempfile.TemporaryDirectory() as folder:
        rows = _all_rows(Path(folder), options)
    print("| fault | tries | held |\n|---|---|---|")
    for row in rows:
        print(f"| {row.fault} | {row.tries} | {row.held} |")
    for row in rows:
        for problem in row.problems:
            print(f"did not hold: {row.fault}: {problem}")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    return int(any(row.problems for row in rows))


if __name__ == "__main__":
    sys.exit(main())
