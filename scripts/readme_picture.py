"""Draw the picture of the README: `python scripts/readme_picture.py runs/einstein docs/images/run.svg`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib import pyplot

from efface.artifacts import Results, Verdict
from efface.evaluation.record_files import read_record_sets
from efface.records import Record
from efface.scores.sets import FORGET, KNOWN_FACTS, RETAIN
from efface.scores.verdict import judge_records, verdict
from figure_colors import MUTED, SERIES, TEXT
from figures import WIDTH, save

_BEFORE, _AFTER = MUTED.light, SERIES[0].light
_QUESTIONS = {FORGET: 3, KNOWN_FACTS: 1}
_LETTERS, _LONGEST = 66, 110
"""Of a line, and of an answer."""


def main(run: Path, out: Path) -> None:
    """Draw how many questions are answered before and after, and below them outputs of the model."""
    before, after = (read_record_sets(run / "records" / stage) for stage in ("before", "after"))
    method = Results.model_validate_json((run / "results.json").read_bytes()).method
    figure = pyplot.figure(figsize=(WIDTH, 7.2), layout="none")
    counts, answers = figure.add_axes((0.25, 0.76, 0.73, 0.19)), figure.add_axes((0.02, 0, 0.97, 0.67))
    counts.set_title(f"Before and after {method.upper()}")
    _draw_counts(counts, verdict(judge_records(before), judge_records(after)))
    _draw_answers(answers, before, after)
    save(figure, out)


def _draw_counts(axes: Any, found: Verdict) -> None:
    assert found.forget is not None
    assert found.retain is not None
    forget, kept = found.forget, found.retain.kept
    rows = {
        "says what\nit should forget": (forget.known_before, forget.leaks.count, forget.leaks.n),
        "knows what\nshould stay": (kept.n, kept.count, kept.n),
    }
    for place, (before, after, n) in enumerate(reversed(rows.values())):
        for shift, stage, count, color in ((0.2, "before", before, _BEFORE), (-0.2, "after", after, _AFTER)):
            axes.barh(place + shift, count / n, height=0.36, color=color, label=stage if place == 0 else None)
            axes.text(count / n + 0.02, place + shift, f"{count} of {n}", va="center")
    axes.set_yticks(range(len(rows)), list(reversed(rows)))
    axes.set(xlim=(0, 1.25), xticks=(0, 0.5, 1), xticklabels=("0 %", "50 %", "100 %"))
    axes.grid(visible=False)
    axes.legend(loc="lower right", ncols=2, bbox_to_anchor=(1, 1.01), borderaxespad=0)


def _draw_answers(axes: Any, before: dict[str, list[Record]], after: dict[str, list[Record]]) -> None:
    axes.axis("off")
    axes.set_title("What the model says")
    height = 0.97
    kept = KNOWN_FACTS if KNOWN_FACTS in before else RETAIN
    for name, heading, count in ((FORGET, "forget", _QUESTIONS[FORGET]), (kept, "keep", _QUESTIONS[KNOWN_FACTS])):
        for old, new in _known(name, before[name], after[name])[:count]:
            height = _write(axes, height, f"{heading}: {old.question}", TEXT.light, weight="bold")
            height = _write(axes, height, f"before: {_short(old.output)}", _BEFORE)
            height = _write(axes, height, f"after: {_short(new.output)}", _AFTER) - 0.02


def _known(name: str, before: Sequence[Record], after: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The questions that were answered correctly before; of several wordings of a fact, the first of these."""
    judged = judge_records({name: before})[name]
    pairs = [pair for pair in zip(before, after, strict=True) if judged[pair[0].id].type == "right"]
    return list({old.answer: (old, new) for old, new in reversed(pairs)}.values())[::-1]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _write(axes: Any, height: float, text: str, color: str, weight: str = "normal") -> float:
    """Write wrapped text below `height`; return the position of the next text."""
    lines = fill(text, _LETTERS)
    axes.text(0, height, lines, color=color, fontweight=weight, va="top", transform=axes.transAxes)
    return height - 0.038 * (lines.count("\n") + 1) - 0.008


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
