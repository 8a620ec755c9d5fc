"""The attack `first-words`: the answer's first words are given, and the model goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from efface.auditing.attack import Attack, Context, Level, Unit
from efface.auditing.fact import Fact, Row, text_of

if TYPE_CHECKING:
    from efface.auditing.subject import Subject

_FRACTIONS: dict[Level, tuple[int, ...]] = {"quick": (25, 50), "standard": (50, 25, 10), "full": (50, 25, 10)}
"""Percent of the answer's words."""


class FirstWords(Attack):
    """Forces the first 10, 25 or 50 % of the answer's words, never past its key fact.

    Of a passage the first half is given, and what follows is compared with the second. Knowledge that a refusal hides
    often comes out once the answer has begun. Source: MUSE's verbatim memorization (arXiv:2407.06460), which gives the
    start of a text; for answers it is the generating form of the extraction strength.
    """

    name: ClassVar[str] = "first-words"

    def units(self, level: Level) -> list[Unit]:
        """One for each fraction."""
        return [Unit(f"{percent}%") for percent in _FRACTIONS[level]]

    def leaves_out(self, level: Level) -> str | None:
        """A fraction."""
        return "10 % of the words" if level == "quick" else None

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """One row for each fact whose answer does not begin with the key fact."""
        share = int(unit.variant.removesuffix("%")) / 100
        starts = {fact.id: first_words(fact, share) for fact in facts}
        attacked = [fact for fact in facts if starts[fact.id]]
        begun = [starts[fact.id] for fact in attacked]
        outputs = subject.answer(
            [fact.prompt for fact in attacked], starts=begun, max_new_tokens=context.max_new_tokens
        )
        rows = self.rows_of_outputs(
            attacked,
            unit,
            context,
            outputs=outputs,
            shown=[f"{text_of(fact.prompt)}\n{start}" for fact, start in zip(attacked, begun, strict=True)],
            targets=[_rest(fact, start) for fact, start in zip(attacked, begun, strict=True)],
        )
        return rows + [self.dropped(fact, unit) for fact in facts if not starts[fact.id]]


def first_words(fact: Fact, share: float) -> str:
    """The start of the answer that is given.

    Args:
        fact: A question with its answer, or a passage.
        share: Of the answer's words; at least one word is given.

    Returns:
        The words, without the space after them; empty where the key fact is among them.
    """
    words = _words(fact.answer)
    start = fact.answer[: words[max(1, int(len(words) * share)) - 1]]
    if fact.key_fact is None:
        return start if len(words) > 1 else ""
    before_fact = fact.answer.casefold().find(fact.key_fact.casefold())
    if before_fact >= 0:
        inside = [end for end in words if end <= before_fact]
        start = start if len(start) <= before_fact else fact.answer[: inside[-1]] if inside else ""
    return start


def _words(text: str) -> list[int]:
    """Where each word ends."""
    ends, inside = [], False
    for index, character in enumerate(text):
        if inside and character.isspace():
            ends.append(index)
        inside = not character.isspace()
    return [*ends, len(text.rstrip())] if inside or not ends else ends


def _rest(fact: Fact, start: str) -> str:
    return fact.answer[len(start) :]
