"""Audits of models whose knowledge is known -> faithfulness and robustness of every number, and the gates."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from efface.artifacts.audit import AuditResults
from efface.scores.privacy_leakage import auc

POSITIVE, NEGATIVE = ("knows", "hidden"), ("never", "twin")
SHIFTS = ("nf4", "relearned")
_DECIMALS = 6
"""Of stored numbers."""

Outcome = dict[str, Any]
"""Of one model: its numbers by name, `recoverable` and `excess` as in results, and `weights`, the highest rate of an
attack on weights."""
Measured = dict[str, Any]
"""Of one seed: `kinds`, kind -> outcome, and once they were measured `shifts`, shift -> kind -> outcome."""


def outcome_of(audits: Sequence[AuditResults]) -> Outcome:
    """What the first audit says, and the numbers of attacks that only the others ran."""
    first = audits[0]
    by_weights = [each.rate or 0 for each in first.attacks.values() if each.tier == "weights" and each.in_union]
    numbers = {"recoverable": first.recoverable.k / first.recoverable.n}
    seen: set[str] = set()
    for results in audits:
        numbers |= _numbers(results, set(results.attacks) - seen)
        seen |= set(results.attacks)
    return {
        "numbers": numbers,
        "recoverable": first.recoverable.model_dump(),
        "excess": None if first.excess is None else first.excess.model_dump(),
        "weights": max(by_weights),
    }


def _numbers(results: AuditResults, attacks: set[str]) -> dict[str, float]:
    """Rate and numbers of the unlearned model."""
    found = {f"{name} rate": results.attacks[name].rate for name in attacks}
    for attack in attacks & set(results.scalars):
        found |= {
            f"{attack} {name}": value
            for name, value in results.scalars[attack].items()
            if "before" not in name and "control" not in name
        }
    return {name: round(value, _DECIMALS) for name, value in found.items() if value is not None}


def stability(before: float, after: float) -> float:
    """1 for equal numbers, 0 for a number that becomes or was 0: 1 - |a - b| / (|a| + |b|)."""
    total = abs(before) + abs(after)
    return 1.0 if total == 0 else 1 - abs(after - before) / total


def harmonic(values: Sequence[float]) -> float:
    """The harmonic mean; 0 with a 0."""
    return 0.0 if min(values) <= 0 else len(values) / sum(1 / value for value in values)


def table(seeds: Sequence[Measured]) -> dict[str, dict[str, float | None]]:
    """Faithfulness and robustness of every attack and number that all models have."""
    names = set.intersection(*(set(each["numbers"]) for seed in seeds for each in seed["kinds"].values()))
    rows: dict[str, dict[str, float | None]] = {}
    for name in sorted(names):
        values = {
            kind: [float(seed["kinds"][kind]["numbers"][name]) for seed in seeds] for kind in (*POSITIVE, *NEGATIVE)
        }
        with_facts = [value for kind in POSITIVE for value in values[kind]]
        without = [value for kind in NEGATIVE for value in values[kind]]
        rows[name] = {
            "faithfulness": _two_sided(auc(without, with_facts)),
            **{kind: fmean(each) for kind, each in values.items()},
            **_robustness(name, seeds),
        }
    return rows


def _robustness(name: str, seeds: Sequence[Measured]) -> dict[str, float | None]:
    """How little it changes for models that hide, how equally for those that never knew, and their harmonic mean."""
    stable, equal = [], []
    for seed in seeds:
        for of_kind in seed.get("shifts", {}).values():
            pairs = {
                kind: (seed["kinds"][kind]["numbers"][name], outcome["numbers"].get(name))
                for kind, outcome in of_kind.items()
            }
            if any(after is None for _, after in pairs.values()):
                return {"stability": None, "equal_shift": None, "robustness": None}
            hidden, never = pairs["hidden"], pairs["never"]
            stable.append(stability(*hidden))
            equal.append(stability(hidden[1] - hidden[0], never[1] - never[0]))
    if not stable:
        return {"stability": None, "equal_shift": None, "robustness": None}
    means = [fmean(stable), fmean(equal)]
    return {"stability": means[0], "equal_shift": means[1], "robustness": harmonic(means)}


def _two_sided(value: float) -> float:
    """Distances are lower, and rates higher, for models with the facts: a number may point either way."""
    return max(value, 1 - value)


def gates(seeds: Sequence[Measured], *, invariant: bool | None) -> dict[str, bool]:
    """What must hold before a release; `invariant` is None while it was not measured, which does not hold."""
    holds_zero = []
    for seed in seeds:
        excess = seed["kinds"]["never"]["excess"]
        holds_zero.append(excess is not None and excess["interval"][0] <= 0 <= excess["interval"][1])
    known = [seed["kinds"]["knows"]["recoverable"] for seed in seeds]
    return {
        "hidden is found by an attack on weights, for every seed": all(
            seed["kinds"]["hidden"]["weights"] >= 0.5 for seed in seeds
        ),
        "the excess of a retrained model holds 0 for 9 of 10 seeds": sum(holds_zero) >= 0.9 * len(holds_zero),
        "a model that is unchanged gives everything": all(each["k"] == each["n"] for each in known),
        "batch size and threads change no hit": bool(invariant),
    }
