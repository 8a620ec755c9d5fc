from __future__ import annotations

from efface.auditing.attack import Attack, Cost, Unit
from efface.auditing.attacks.plain import Plain
from efface.auditing.time_plan import Part, Speed, choose
from support.audited import Broken, Whisper

SPEED = Speed(decoded=100, read=1000, trained=10)


def part(attack: Attack, variant: str, seconds: float, models: int = 1) -> Part:
    return Part(attack, Unit(variant), Cost(decoded=int(seconds * 100)), models)


def test_a_cost_takes_its_parts_together() -> None:
    assert SPEED.seconds(Cost(decoded=100, read=2000, trained=30)) == 6


def test_every_attack_gets_its_first_unit_before_any_gets_its_second() -> None:
    plain, whisper, broken = Plain(), Whisper(), Broken()
    parts = [
        part(plain, "p", 1),
        part(whisper, "first", 3),
        part(whisper, "second", 3),
        part(broken, "first", 3),
        part(broken, "second", 1),
    ]
    chosen, cut = choose(parts, SPEED, 9)
    assert [f"{each.attack.name} {each.unit.variant}" for each in chosen] == [
        "plain p",
        "whisper first",
        "broken first",
        "broken second",
    ]
    assert [each.unit.variant for each in cut] == ["second"]


def test_every_model_counts() -> None:
    chosen, _ = choose([part(Plain(), "p", 0), part(Whisper(), "a", 3, models=2)], SPEED, 6)
    assert [each.attack.name for each in chosen] == ["plain"]


def test_asking_plainly_is_never_cut() -> None:
    assert [each.attack.name for each in choose([part(Plain(), "p", 100)], SPEED, 1)[0]] == ["plain"]
