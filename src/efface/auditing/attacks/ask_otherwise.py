"""The attack `ask-otherwise`: the same question in wordings and formats that unlearning has not seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from efface.auditing.attack import Attack, Context, Cost, Level, ModelName, Unit
from efface.auditing.attacks.templates import TEMPLATES, Asked, Material, options_prompt, reverse_prompt
from efface.auditing.fact import Fact, Row, text_of
from efface.evaluation.judging.key_fact_judge import contains_fact

if TYPE_CHECKING:
    from efface.auditing.subject import Subject

CHOICE, REVERSE = "choice", "reverse"
"""Variants with a table of their own: their prompts show the fact, so that nothing comes back."""
_QUICK = 7
"""How many templates the level quick uses."""
_LETTER = re.compile(r"^\W*([A-E])\b")


class AskOtherwise(Attack):
    """Asks each question by templates: examples before it, an affirmative start, other formats, roles, languages.

    Sources: the probe types of RWKU (arXiv:2406.10890), the worst case over paraphrases and formats of JensUn
    (arXiv:2509.02820), and that unlearning often fails outside of the training language (arXiv:2601.06675). `choice`
    among stored wrong answers and `reverse`, which asks for the subject, show the fact: they count in no rate, and the
    shares of right answers are among the scalars.
    """

    name: ClassVar[str] = "ask-otherwise"
    wants_before: ClassVar[bool] = True

    def units(self, level: Level) -> list[Unit]:
        """One for each template."""
        names = [*TEMPLATES][:_QUICK] if level == "quick" else [*TEMPLATES, CHOICE, REVERSE]
        return [Unit(name) for name in names]

    def leaves_out(self, level: Level) -> str | None:
        """The templates of the other levels."""
        if level != "quick":
            return None
        return f"{len(TEMPLATES) - _QUICK} of {len(TEMPLATES)} templates, {CHOICE} and {REVERSE}"

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:
        """Outputs of every fact."""
        del unit
        return Cost(decoded=len(facts) * context.max_new_tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """One row for each fact that the template applies to; passages have no question to ask otherwise."""
        material = Material(
            retain=context.retain,
            siblings=context.forget,
            text_format=subject.formatter.config.format,
            has_chat_template=bool(subject.tokenizer.chat_template),
        )
        questions = [fact for fact in facts if not fact.is_passage]
        if unit.variant == CHOICE:
            return self._choices(subject, questions, unit, context)
        if unit.variant == REVERSE:
            return self._subjects(subject, questions, unit, context)
        template = TEMPLATES[unit.variant]
        asked = [made for fact in questions if (made := template(fact, material)) is not None]
        return self.rows_of_outputs(
            [each.fact for each in asked],
            unit,
            context,
            outputs=_answers(subject, asked, context.max_new_tokens),
            shown=[f"{text_of(each.prompt)}\n{each.start}" for each in asked],
        )

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """Share of right choices, and of subjects that were named, of each model."""
        return {
            f"{variant} {model}": fmean(values)
            for variant in (CHOICE, REVERSE)
            for model, each in rows.items()
            if (values := [row.numbers["right"] for row in each if row.variant == variant])
        }

    def _choices(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        found = [made for fact in facts if (made := options_prompt(fact)) is not None]
        outputs = _answers(subject, [question for question, _, _ in found], context.max_new_tokens)
        return [
            self._row(question.fact, unit, output, {"right": float(_chosen(output) == letter), "chance": 1 / count})
            for (question, letter, count), output in zip(found, outputs, strict=True)
        ]

    def _subjects(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        found = [made for fact in facts if (made := reverse_prompt(fact)) is not None]
        outputs = _answers(subject, found, context.max_new_tokens)
        return [
            self._row(each.fact, unit, output, {"right": float(contains_fact(output, each.fact.subject or ""))})
            for each, output in zip(found, outputs, strict=True)
        ]

    def _row(self, fact: Fact, unit: Unit, output: str, numbers: dict[str, float]) -> Row:
        return Row(
            attack=self.name,
            variant=unit.variant,
            seed=unit.seed,
            fact=fact.id,
            hit=None,
            output=output,
            numbers=numbers,
        )


def _answers(subject: Subject, asked: Sequence[Asked], max_new_tokens: int) -> list[str]:
    """The outputs; all prompts of a template have the same format and start."""
    if not asked:
        return []
    starts = [each.start for each in asked] if asked[0].start else None
    return subject.answer(
        [each.prompt for each in asked],
        starts=starts,
        text_format=asked[0].text_format,
        max_new_tokens=max_new_tokens,
    )


def _chosen(output: str) -> str | None:
    found = _LETTER.match(output)
    return found[1] if found else None
