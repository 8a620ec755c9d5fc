"""What the page shows of an audit: the sentence, bars, curves, tables, hits to read. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from efface.artifacts import Results
from efface.artifacts.audit import AttackResult, AuditResults
from efface.files.folders import RunPaths
from efface.report.audit_words import BOUND, LIMITS, count_of, headline, percent, percent_range, short_count
from efface.report.number_format import format_number
from efface.report.page.load_run import ReportRun
from efface.report.page.questions.question_outcomes import QuestionOutcome
from efface.report.page.sections.audit_hits import HitToRead, read_hits
from efface.report.page.sections.lens_layers import LENS_LAYER, lens_table
from efface.report.page.tables import Table

_STEP = re.compile(r"(?P<model>after|control) (?P<arm>[a-z]+) step (?P<step>\d+)")
_ALL = "all attacks"


@dataclass(frozen=True)
class Bar:
    """A count as a bar."""

    label: str
    k: int
    n: int
    text: str


@dataclass(frozen=True)
class AuditSection:
    """All that the page shows."""

    sentence: str
    limits: str
    brought_back: Bar
    """The facts that at least one attack brought back; stands among the numbers at the top of the page, too."""
    bars: Sequence[Bar]
    table: Table
    curve: Table | None
    """Relearning: share of facts after each number of steps."""
    layers: Table | None
    """The lens: how readable the facts are in each layer."""
    numbers: Table | None
    """Other numbers that are no rate of facts."""
    hits: Sequence[HitToRead]
    left_out: Sequence[tuple[str, str]]
    judge: str


def audit_section(run: ReportRun, outcomes: Sequence[QuestionOutcome]) -> AuditSection | None:
    """Collect what the page shows of an audit.

    Args:
        run: A run.
        outcomes: Its questions, for the hits to read.

    Returns:
        None where the run was not audited.
    """
    audit = run.results.audit if isinstance(run.results, Results) else None
    if audit is None:
        return None
    return AuditSection(
        sentence=headline(audit),
        limits=LIMITS,
        brought_back=_bar(_ALL, audit.recoverable.k, audit),
        bars=_bars(audit),
        table=_attacks_table(audit),
        curve=_curve(audit),
        layers=lens_table(audit),
        numbers=_numbers(audit),
        hits=read_hits(RunPaths(run.path).audit_rows, outcomes, audit.attacks.keys() - {"plain"}),
        left_out=list(audit.left_out.items()),
        judge=audit.recoverable.judge,
    )


def relearn_curves(run: ReportRun) -> dict[str, object] | None:
    """Make the data of the chart of relearning for the script.

    Args:
        run: A run.

    Returns:
        `step`, and `lines` by label, with a number or None at each step; None where there is nothing to draw.
    """
    audit = run.results.audit if isinstance(run.results, Results) else None
    if audit is None:
        return None
    lines, steps = _lines(audit), _steps(audit)
    if not lines or len(steps) < 2:
        return None
    return {"step": steps, "lines": {label: [values.get(step) for step in steps] for label, values in lines.items()}}


def _bars(audit: AuditResults) -> list[Bar]:
    found = audit.recoverable
    counts = {
        "prompted as in the run": found.asked_plainly,
        "attacks that ask": found.by_asking,
        _ALL: found.k,
    }
    if audit.control is not None:
        counts["all attacks on the control"] = audit.control.k
    return [_bar(label, k, audit) for label, k in counts.items()]


def _bar(label: str, k: int, audit: AuditResults) -> Bar:
    n = audit.recoverable.n
    return Bar(label, k, n, count_of(k, n))


def _attacks_table(audit: AuditResults) -> Table:
    headings = ["Attack", "Needs", "Brought back", "95 % interval", "Control", "Before", "Chance", "p", "Counts"]
    rows = [[name, each.tier, *_cells(each)] for name, each in audit.attacks.items()]
    tested = sum(each.p_value is not None for each in audit.attacks.values())
    caption = f"Attacks ({BOUND}; p: no more than from the control, adjusted for {tested} attacks)"
    return Table(caption, headings, rows, 2)


def _cells(each: AttackResult) -> list[str]:
    if each.rate is None or each.interval is None:
        return ["-"] * 7
    shares = [each.control_rate, each.before_rate, each.chance]
    return [
        short_count(round(each.rate * each.n), each.n),
        percent_range(each.interval),
        *("-" if share is None else percent(share) for share in shares),
        format_number(each.p_value),
        "yes" if each.in_union else "no",
    ]


def _curve(audit: AuditResults) -> Table | None:
    lines, steps = _lines(audit), _steps(audit)
    if not lines:
        return None
    rows = [[label, *(format_number(values.get(step)) for step in steps)] for label, values in lines.items()]
    return Table("Relearning: share of the facts after so many steps", ["Model, arm", *map(str, steps)], rows)


def _lines(audit: AuditResults) -> dict[str, dict[int, float]]:
    """Label such as `after, some` -> step -> share."""
    lines: dict[str, dict[int, float]] = {}
    for name, value in audit.scalars.get("relearn", {}).items():
        if value is not None and (found := _STEP.fullmatch(name)):
            lines.setdefault(f"{found['model']}, {found['arm']}", {})[int(found["step"])] = value
    return dict(sorted(lines.items()))


def _steps(audit: AuditResults) -> list[int]:
    return sorted({step for values in _lines(audit).values() for step in values})


def _numbers(audit: AuditResults) -> Table | None:
    rows = [
        [attack, name, format_number(value)]
        for attack, each in audit.scalars.items()
        for name, value in each.items()
        if not (_STEP.fullmatch(name) or LENS_LAYER.fullmatch(name))
    ]
    return Table("Numbers that are no rate of facts", ["Attack", "Number", "Value"], rows, 2) if rows else None
