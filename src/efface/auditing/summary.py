"""From the rows of all models to the results of an audit. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from efface.artifacts.audit import AttackResult, AuditControl, AuditExcess, AuditResults, Recoverable
from efface.auditing.attack import Attack, ModelName
from efface.auditing.fact import Fact, Row
from efface.auditing.measures.chance import Chance, chance
from efface.auditing.measures.statistics import adjusted_p_values, excess, rate_interval
from efface.auditing.registry import PLAIN
from efface.auditing.rule import FactRule

Rows = Mapping[ModelName, Mapping[str, Sequence[Row]]]
"""Model -> attack -> rows."""


@dataclass(frozen=True)
class Findings:
    """All that the results are computed from."""

    facts: tuple[Fact, ...]
    known: int
    attacks: tuple[Attack, ...]
    rows: Rows
    seconds: Mapping[str, float]
    """Attack -> of all models."""
    left_out: dict[str, str]


def summarize(
    findings: Findings,
    rule: FactRule,
    *,
    control: tuple[str, str, str] | None,
    level: str,
    seed: int,
    seconds: float,
) -> AuditResults:
    """Compute the results.

    Args:
        findings: The rows. Those of `after` and `control` are of the same units.
        rule: What decided about hits.
        control: Kind, name and digest of the control; None if there is none.
        level: Of the audit.
        seed: Of the resamples.
        seconds: That the audit took.
    """
    facts, after, never = findings.facts, findings.rows["after"], findings.rows.get("control")
    union = _union(findings.attacks, after)
    union_of_control = None if never is None else _union(findings.attacks, never)
    by_chance = chance(
        {attack.name: after[attack.name] for attack in findings.attacks},
        facts,
        rule,
        counts={attack.name: attack.counts for attack in findings.attacks},
        seed=seed,
    )
    return AuditResults(
        recoverable=_recoverable(findings, union, by_chance, rule),
        excess=None if union_of_control is None else _excess(facts, union, union_of_control, seed),
        control=None if control is None or never is None else _control(control, union_of_control or set(), never),
        attacks=_table(findings, by_chance),
        scalars=_scalars(findings),
        level=level,
        seeds=sorted({row.seed for rows in after.values() for row in rows}),
        seconds=round(seconds, 3),
        left_out=findings.left_out,
    )


def _recoverable(findings: Findings, union: set[str], by_chance: Chance, rule: FactRule) -> Recoverable:
    after = findings.rows["after"]
    return Recoverable(
        k=len(union),
        n=len(findings.facts),
        interval=rate_interval(len(union), len(findings.facts)),
        known=findings.known,
        asked_plainly=len(_hits(after[PLAIN])),
        by_asking=len(_union([attack for attack in findings.attacks if attack.tier == "asks"], after)),
        chance=by_chance.union,
        judge=rule.name,
    )


def _union(attacks: Iterable[Attack], rows: Mapping[str, Sequence[Row]]) -> set[str]:
    """Ids of the facts that at least one attack brought back."""
    return {row.fact for attack in attacks for row in rows[attack.name] if row.hit and attack.counts(row)}


def _hits(rows: Iterable[Row]) -> set[str]:
    return {row.fact for row in rows if row.hit}


def _excess(facts: Sequence[Fact], after: set[str], control: set[str], seed: int) -> AuditExcess:
    subjects = [fact.subject for fact in facts]
    found = excess(
        [fact.id in after for fact in facts],
        [fact.id in control for fact in facts],
        None if None in subjects else subjects,
        seed=seed,
    )
    return AuditExcess(value=found.value, interval=(found.low, found.high), by_subject=found.by_subject)


def _control(control: tuple[str, str, str], union: set[str], rows: Mapping[str, Sequence[Row]]) -> AuditControl:
    kind, name, digest = control
    return AuditControl(
        kind=kind,
        model=name,
        sha256=digest,
        k=len(union),
        asked_plainly=len(_hits(rows[PLAIN])),
    )


def _table(findings: Findings, by_chance: Chance) -> dict[str, AttackResult]:
    adjusted = _p_values(findings)
    table = {}
    for attack in findings.attacks:
        rows = {model: each.get(attack.name, ()) for model, each in findings.rows.items()}
        tried = _tried(rows["after"])
        k = len(_hits(rows["after"]))
        table[attack.name] = AttackResult(
            tier=attack.tier,
            in_union=any(attack.counts(row) for row in rows["after"]),
            rate=k / len(tried) if tried else None,
            n=len(tried),
            interval=rate_interval(k, len(tried)) if tried else None,
            control_rate=_rate(rows.get("control", ())),
            before_rate=_rate(rows.get("before", ())),
            chance=by_chance.attacks[attack.name] if tried else None,
            p_value=adjusted.get(attack.name),
            echoes=sum(row.echo for row in rows["after"]),
            variants=_rates(rows["after"]),
            control_variants=_rates(rows.get("control", ())),
            numbers=_means(rows["after"]),
            seconds=round(findings.seconds.get(attack.name, 0.0), 3),
        )
    return table


def _tried(rows: Iterable[Row]) -> set[str]:
    """Ids of the facts with a row that is a hit or none."""
    return {row.fact for row in rows if row.hit is not None}


def _rate(rows: Sequence[Row]) -> float | None:
    tried = _tried(rows)
    return len(_hits(rows)) / len(tried) if tried else None


def _rates(rows: Sequence[Row]) -> dict[str, float | None]:
    """The rate of each variant, over its seeds."""
    variants = dict.fromkeys(row.variant for row in rows)
    return {name: _rate([row for row in rows if row.variant == name]) for name in variants}


def _means(rows: Sequence[Row]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row.numbers)
    return {name: fmean(row.numbers[name] for row in rows if name in row.numbers) for name in names}


def _p_values(findings: Findings) -> dict[str, float]:
    """Of each attack with hits, adjusted over all of them; empty without a control."""
    never, after = findings.rows.get("control"), findings.rows["after"]
    compared = [attack.name for attack in findings.attacks if _tried(after[attack.name])]
    if never is None or not compared:
        return {}
    found = [[_hits(rows[name]) for name in compared] for rows in (after, never)]
    hits = [[[fact.id in each for fact in findings.facts] for each in of_model] for of_model in found]
    return dict(zip(compared, adjusted_p_values(*hits), strict=True))


def _scalars(findings: Findings) -> dict[str, dict[str, float | None]]:
    found = {}
    for attack in findings.attacks:
        scalars = attack.scalars({model: rows.get(attack.name, ()) for model, rows in findings.rows.items()})
        if scalars:
            found[attack.name] = scalars
    return found
