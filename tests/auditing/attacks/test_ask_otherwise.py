from __future__ import annotations

from typing import Any, cast

from efface.auditing.attack import Unit
from efface.auditing.attacks.ask_otherwise import CHOICE, REVERSE, AskOtherwise
from efface.auditing.attacks.templates import TEMPLATES
from efface.text.config import TextConfig
from support.audited import audit_context, fact, facts


class Told:
    """A subject that answers the same to everything, and keeps what it was asked."""

    def __init__(self, answer: str) -> None:
        self.formatter = type("Formatter", (), {"config": TextConfig(format="plain")})
        self.tokenizer = type("Tokenizer", (), {"chat_template": None})
        self.text = answer
        self.asked: list[dict[str, Any]] = []

    def answer(self, prompts: Any, **options: Any) -> list[str]:
        self.asked.append({"prompts": prompts, **options})
        return [self.text] * len(prompts)


def run(answer: str, variant: str, audited: Any) -> tuple[list[Any], Told]:
    subject = Told(answer)
    return AskOtherwise().run(cast(Any, subject), audited, Unit(variant), audit_context(audited)), subject


def test_quick_has_the_most_telling_templates() -> None:
    quick, full = (AskOtherwise().units(level) for level in ("quick", "full"))
    assert [unit.variant for unit in quick] == list(TEMPLATES)[: len(quick)]
    assert [unit.variant for unit in full] == [*TEMPLATES, CHOICE, REVERSE]


def test_every_fact_is_asked_and_judged() -> None:
    rows, subject = run("In Turku.", "paraphrased", facts(3))
    assert [row.hit for row in rows] == [True, False, False]
    assert subject.asked[0]["prompts"][0].question == "Tell me where tower Ba is."


def test_an_affirmative_start_is_forced() -> None:
    _, subject = run("Turku", "affirmed", facts(2))
    assert subject.asked[0]["starts"] == ["Sure, here is the answer:"] * 2


def test_another_format_is_asked_for() -> None:
    _, subject = run("Turku", "bare", facts(2))
    assert subject.asked[0]["text_format"] == "{question} {answer}"


def test_a_choice_counts_in_no_rate() -> None:
    wrong = tuple(f"Tower X is in {town}." for town in ("Vaasa", "Kemi", "Pori"))
    audited = tuple(fact(number, perturbed_answers=wrong) for number in range(6))
    rows, _ = run("A", CHOICE, audited)
    assert all(row.hit is None for row in rows)
    right = [row.numbers["right"] for row in rows]
    scalars = AskOtherwise().scalars({"after": rows})
    assert scalars["choice after"] == sum(right) / 6
    assert {row.numbers["chance"] for row in rows} == {0.25}


def test_the_subject_is_asked_for_in_reverse() -> None:
    rows, _ = run("It is tower Ba.", REVERSE, facts(3))
    assert [row.numbers["right"] for row in rows] == [1.0, 0.0, 0.0]
    assert all(row.hit is None for row in rows)


def test_passages_are_not_asked() -> None:
    passage = fact(question="", answer="Long ago.", passage=True, key_fact=None)
    rows, subject = run("Turku", "insisted", (passage,))
    assert rows == []
    assert subject.asked == []
