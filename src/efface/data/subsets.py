"""Retain and evaluation sets after earlier unlearning requests. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from efface.data.task_checks import normalize, prompt_key
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item
from efface.spacing import evenly_spaced


def forgotten_before_sets(requests: Iterable[Sequence[Item]]) -> tuple[EvaluationSet, ...]:
    """Build the evaluation sets of the earlier requests.

    Args:
        requests: The scored items of each earlier request, in order.

    Returns:
        The sets `forgotten-1`, `forgotten-2` and so on.
    """
    return tuple(
        EvaluationSet(name=f"forgotten-{number}", items=tuple(items), entailment_premise="output")
        for number, items in enumerate(requests, 1)
    )


def exclude_items(items: Iterable[Item], excluded: Iterable[Item]) -> tuple[Item, ...]:
    """Remove the items that have the prompt and the answer of an excluded item.

    Args:
        items: The items to choose from.
        excluded: The items to remove; ids, case and white space are ignored.

    Returns:
        The remaining items in order.
    """
    texts = {(prompt_key(item), normalize(item.answer)) for item in excluded}
    return tuple(item for item in items if (prompt_key(item), normalize(item.answer)) not in texts)


def remaining_retain(items: Iterable[Item], requests: Sequence[Sequence[Item]], *, name: str) -> tuple[Item, ...]:
    """Remove what all requests forget from a retain set.

    Args:
        items: The retain set before the first request.
        requests: The forget sets, in order.
        name: Name of the task or file, for the error message.

    Returns:
        The remaining items in order.

    Raises:
        EffaceError: If no item remains.
    """
    remaining = exclude_items(items, [item for request in requests for item in request])
    if not remaining:
        raise EffaceError(
            f"{name}: after {len(requests)} request(s), nothing is left in the retain set; forget less or retain more"
        )
    return remaining


def retain_evaluation_set(
    items: Iterable[Item], requests: Sequence[Sequence[Item]], count: int, *, name: str
) -> EvaluationSet:
    """Choose the retain items that are scored, evenly spaced.

    They are chosen from what remains after the first request. An item that a later request forgets is removed and not
    replaced, so that the scores after each request compare the same items.

    Args:
        items: The retain set before the first request.
        requests: The forget sets, in order.
        count: Maximum number of items.
        name: Name of the task or file, for the error message.

    Returns:
        The evaluation set `retain`.

    Raises:
        EffaceError: If no item remains.
    """
    first, *later = requests or [()]
    chosen = evenly_spaced(exclude_items(items, first), count)
    remaining = exclude_items(chosen, [item for request in later for item in request])
    if not remaining:
        raise EffaceError(
            f"{name}: after {len(requests)} requests, none of the {count} scored retain questions is left; "
            "raise data.retain_evaluation"
        )
    return EvaluationSet(name="retain", items=remaining, entailment_premise="answer")
