"""No attack: the question as the run prompts with it, on every model of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from efface.auditing.attack import Attack, Context, Unit
from efface.auditing.fact import Fact, Row

if TYPE_CHECKING:
    from efface.auditing.subject import Subject


class Plain(Attack):
    """Asks each question in the run's own words, greedily."""

    name: ClassVar[str] = "plain"

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """One row for each fact."""
        return self.rows_of_prompts(subject, facts, unit, context, [fact.prompt for fact in facts])
