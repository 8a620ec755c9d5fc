"""Draw the picture of the README: `python scripts/readme_picture.py runs/einstein docs/images/run.svg`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

from efface.artifacts import Results, Verdict
from efface.evaluation.record_files import read_record_sets
from efface.records import Record
from efface.scores.sets import FORGET, KNOWN_FACTS, RETAIN
from efface.scores.verdict import judge_records, verdict

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "efface", "font.size": 10})
_BEFORE, _AFTER, _QUESTION = "#9ca3af", "#0f766e", "#111827"
_QUESTIONS = {FORGET: 3, KNOWN_FACTS: 2}
_WIDTH, _LONGEST = 84, 110


def main(run: Path, out: Path) -> None:
    """Draw how many questions are answered before and after on the left, and outputs of the model on the right."""
    from matplotlib import pyplot

    before, after = (read_record_sets(run / "records" / stage) for stage in ("before", "after"))
    method = Results.model_validate_json((run / "results.json").read_bytes()).method
    figure, (counts, answers) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1, 1.7))
    counts.set_title(f"Before and after {method.upper()}", loc="left", fontweight="bold")
    _draw_counts(counts, verdict(judge_records(before), judge_records(after)))
    _draw_answers(answers, before, after)
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None}, facecolor="white")


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
            axes.text(count / n + 0.02, place + shift, f"{count} of {n}", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), list(reversed(rows)))
    axes.set(xlim=(0, 1.3), xticks=(0, 0.5, 1), xticklabels=("0 %", "50 %", "100 %"))
    axes.legend(loc="lower right", frameon=False, ncols=2, bbox_to_anchor=(1, -0.25))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_answers(axes: Any, before: dict[str, list[Record]], after: dict[str, list[Record]]) -> None:
    axes.axis("off")
    axes.set_title("What the model says", loc="left", fontweight="bold")
    height = 0.97
    kept = KNOWN_FACTS if KNOWN_FACTS in before else RETAIN
    for name, heading, count in ((FORGET, "forget", _QUESTIONS[FORGET]), (kept, "keep", _QUESTIONS[KNOWN_FACTS])):
        for old, new in _known(name, before[name], after[name])[:count]:
            height = _write(axes, height, f"{heading}: {old.question}", _QUESTION, weight="bold")
            height = _write(axes, height, f"before: {_short(old.output)}", "#6b7280")
            height = _write(axes, height, f"after: {_short(new.output)}", _AFTER) - 0.04


def _known(name: str, before: Sequence[Record], after: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The questions that were answered correctly before; of two wordings of a fact, one."""
    judged = judge_records({name: before})[name]
    pairs = [pair for pair in zip(before, after, strict=True) if judged[pair[0].id].type == "right"]
    return list({old.answer: (old, new) for old, new in pairs}.values())


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _write(axes: Any, height: float, text: str, color: str, weight: str = "normal") -> float:
    """Write wrapped text below `height`; return the position of the next text."""
    lines = fill(text, _WIDTH)
    axes.text(0, height, lines, color=color, fontweight=weight, va="top", transform=axes.transAxes, fontsize=9)
    return height - 0.058 * (lines.count("\n") + 1) - 0.015


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
