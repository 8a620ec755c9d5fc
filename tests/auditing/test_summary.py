from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from efface.artifacts.audit import AuditResults
from efface.auditing.attack import Attack, ModelName
from efface.auditing.attacks.plain import Plain
from efface.auditing.fact import Fact, Row
from efface.auditing.summary import Findings, summarize
from support.audited import Whisper, facts, key_fact_rule, row_of


class Numbers(Whisper):
    name = "numbers"

    def counts(self, row: Row) -> bool:
        return False

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        return {f"rows of {model}": float(len(each)) for model, each in rows.items()}


AUDITED = facts(6)
ATTACKS: tuple[Attack, ...] = (Plain(), Whisper(), Numbers())


def hits(attack: str, *found: int, variant: str = "plain") -> list[Row]:
    return [row_of(each, hit=number in found, attack=attack, variant=variant) for number, each in enumerate(AUDITED)]


def results(control: bool = True, audited: tuple[Fact, ...] = AUDITED) -> AuditResults:
    rows: dict[ModelName, dict[str, list[Row]]] = {
        "before": {"plain": [], "whisper": hits("whisper", 0, 1, 2, 3), "numbers": []},
        "control": {"plain": hits("plain", 5), "whisper": hits("whisper"), "numbers": []},
        "after": {
            "plain": hits("plain", 5),
            "whisper": hits("whisper", 0, 1) + hits("whisper", 2, variant="louder"),
            "numbers": hits("numbers", 3),
        },
    }
    if not control:
        del rows["control"]
    findings = Findings(audited, 9, ATTACKS, rows, {"whisper": 2.0}, {"facts": "three"})
    return summarize(
        findings,
        key_fact_rule(audited),
        control=("given", "runs/never", "0" * 64) if control else None,
        level="quick",
        seed=0,
        seconds=1.0,
    )


def test_a_fact_counts_once_that_any_attack_brings_back() -> None:
    found = results()
    assert (found.recoverable.k, found.recoverable.n, found.recoverable.known) == (4, 6, 9)
    assert found.recoverable.asked_plainly == 1
    assert found.recoverable.by_asking == 4
    assert found.recoverable.interval[0] < 4 / 6 < found.recoverable.interval[1]
    assert found.left_out == {"facts": "three"}


def test_the_control_is_attacked_in_the_same_way() -> None:
    found = results()
    assert found.control is not None
    assert (found.control.k, found.control.asked_plainly) == (1, 1)
    assert found.excess is not None
    assert found.excess.value == pytest.approx(0.5)
    assert found.excess.interval[0] <= 0.5 <= found.excess.interval[1]
    assert results(control=False).excess is None


def test_each_attack_has_its_rates() -> None:
    table = results().attacks
    whisper = table["whisper"]
    assert whisper.rate == pytest.approx(0.5)
    assert whisper.variants == {"plain": pytest.approx(2 / 6), "louder": pytest.approx(1 / 6)}
    assert whisper.control_rate == 0
    assert whisper.before_rate == pytest.approx(4 / 6)
    assert whisper.seconds == 2.0
    assert whisper.p_value is not None
    assert table["plain"].p_value == 1.0


def test_an_attack_that_does_not_count_is_shown_beside() -> None:
    found = results()
    assert not found.attacks["numbers"].in_union
    assert found.attacks["numbers"].rate == pytest.approx(1 / 6)
    assert found.scalars["numbers"]["rows of after"] == 6.0


def test_facts_that_an_attack_cannot_be_tried_on_are_not_misses() -> None:
    rows = [row_of(AUDITED[0], hit=True, attack="whisper"), Whisper().dropped(AUDITED[1], Whisper().units("quick")[0])]
    findings = Findings(AUDITED, 6, (Plain(), Whisper()), {"after": {"plain": hits("plain"), "whisper": rows}}, {}, {})
    found = summarize(findings, key_fact_rule(AUDITED), control=None, level="quick", seed=0, seconds=0)
    assert (found.attacks["whisper"].rate, found.attacks["whisper"].n, found.attacks["whisper"].echoes) == (1.0, 1, 1)
