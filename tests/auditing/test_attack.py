from __future__ import annotations

from typing import Any

from efface.auditing.attack import Cost, Unit
from support.audited import Whisper, audit_context, facts


class Parrot:
    """A subject that answers with its prompts."""

    def answer(self, prompts: Any, *, max_new_tokens: int) -> list[str]:
        assert max_new_tokens == 9
        return [f"{prompt.question} Turku" for prompt in prompts]


def test_an_attack_needs_no_more_than_run() -> None:
    around, attack = audit_context(facts(3)), Whisper()
    [unit] = attack.units("full")
    rows = attack.run(Parrot(), around.facts, unit, around)
    assert [(row.attack, row.variant, row.fact, row.hit) for row in rows] == [
        ("whisper", "plain", "forget/0000", True),
        ("whisper", "plain", "forget/0001", False),
        ("whisper", "plain", "forget/0002", False),
    ]
    assert rows[1].output == "Where is tower Bo? Turku"
    assert attack.plan(around.facts, unit, around) == Cost(decoded=27)
    assert attack.counts(rows[0])
    assert attack.scalars({"after": rows}) == {}


def test_a_dropped_fact_is_neither_hit_nor_miss() -> None:
    row = Whisper().dropped(facts(1)[0], Unit("v", 2))
    assert (row.hit, row.echo, row.seed, row.shown) == (None, True, 2, ("forget/0000",))
