"""What earlier requests forgot, and what is left to keep after them. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from efface.data.task_checks import normalize, prompt_key
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item
from efface.spacing import evenly_spaced


def forgotten_before_sets(requests: Iterable[Sequence[Item]]) -> tuple[EvaluationSet, ...]:
    """The scored items of each earlier request, in order, as the sets `forgotten-1`, `forgotten-2` and so on."""
    return tuple(
        EvaluationSet(name=f"forgotten-{number}", items=tuple(items), entailment_premise="output")
        for number, items in enumerate(requests, 1)
    )


def exclude_items(items: Iterable[Item], gone: Iterable[Item]) -> tuple[Item, ...]:
    """Those of `items` that say something else than each of `gone`; case and white space tell nothing apart."""
    said = {(prompt_key(item), normalize(item.answer)) for item in gone}
    return tuple(item for item in items if (prompt_key(item), normalize(item.answer)) not in said)


def remaining_retain(items: Iterable[Item], requests: Sequence[Sequence[Item]], *, name: str) -> tuple[Item, ...]:
    """What is left of `items` after all the requests. Raises `EffaceError` where nothing is; `name` is the task's."""
    left = exclude_items(items, [item for each in requests for item in each])
    if not left:
        raise EffaceError(
            f"{name}: after {len(requests)} request(s), nothing is left to keep; forget less or keep more"
        )
    return left


def retain_evaluation_set(
    items: Iterable[Item], requests: Sequence[Sequence[Item]], count: int, *, name: str
) -> EvaluationSet:
    """The set `retain`: at most `count` of what is left, evenly spread.

    They are chosen before the first request, and what later ones forget is not replaced, so that scores after each
    are those of the same questions. Raises `EffaceError` where none is left.
    """
    first, *others = requests or [()]
    left = exclude_items(evenly_spaced(exclude_items(items, first), count), [item for each in others for item in each])
    if not left:
        raise EffaceError(
            f"{name}: after {len(requests)} requests, none of the {count} questions to keep is left to be scored; "
            "raise data.retain_evaluation"
        )
    return EvaluationSet(name="retain", items=left, entailment_premise="answer")
