"""Checks of a task's items, for every source of data. No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from efface.errors import EffaceError
from efface.schema import Item, Task

PromptKey = tuple[str, ...]
_SHOWN_CHARACTERS = 80
"""Maximum number of characters of a text in a message."""


def check_task_items(task: Task) -> Task:
    """Check ids, conflicts between forget and retain set, and repetitions.

    Args:
        task: A task.

    Returns:
        The task with the warnings of these checks added.

    Raises:
        EffaceError: If the forget set is empty, an id occurs twice, or an item is in both the forget and the retain
            set; case and white space are ignored.
    """
    if not task.forget:
        raise EffaceError(f"the forget set of {task.name} is empty: give it at least one question")
    _check_unique_ids(task.name, (*task.forget, *task.retain))
    for evaluation in task.evaluation:
        _check_unique_ids(f"{task.name} ({evaluation.name} evaluation)", evaluation.items)
    warnings = (*find_conflicts(task), *_find_repetitions(task))
    return task.model_copy(update={"warnings": (*task.warnings, *warnings)})


def _check_unique_ids(where: str, items: Iterable[Item]) -> None:
    for id, count in Counter(item.id for item in items).most_common(1):
        if count > 1:
            raise EffaceError(f"{where}: {count} items have the id {id!r}; ids must be unique")


def find_conflicts(task: Task) -> tuple[str, ...]:
    """Find prompts that are in both the forget and the retain set.

    Args:
        task: A task.

    Returns:
        One warning if such prompts have different answers, otherwise nothing.

    Raises:
        EffaceError: If a prompt has the same answer in both sets, or a passage is in both.
    """
    retained: dict[PromptKey, list[Item]] = defaultdict(list)
    for item in task.retain:
        retained[prompt_key(item)].append(item)
    pairs = [(item, twin) for item in task.forget for twin in retained.get(prompt_key(item), ())]
    for item, twin in pairs:
        if normalize(item.answer) == normalize(twin.answer):
            what = "passage" if item.passage else "question with the same answer"
            raise EffaceError(
                f"{item.id} (forget set) and {twin.id} (retain set) are the same {what} "
                f"({_shortened(item)!r}): remove one of them"
            )
    if not pairs:
        return ()
    item, twin = pairs[0]
    return (
        f"{len(pairs)} question(s) are in both the forget and the retain set, with different answers "
        f"(first: {item.id} and {twin.id}, {_shortened(item)!r})",
    )


def _find_repetitions(task: Task) -> tuple[str, ...]:
    first_of: dict[tuple[PromptKey, str], Item] = {}
    pairs = []
    for item in task.forget:
        first = first_of.setdefault((prompt_key(item), normalize(item.answer)), item)
        if first is not item:
            pairs.append((first, item))
    if not pairs:
        return ()
    first, repetition = pairs[0]
    return (
        f"{len(pairs)} item(s) of the forget set repeat an earlier one and increase its weight "
        f"(first: {first.id} and {repetition.id})",
    )


def prompt_key(item: Item) -> PromptKey:
    """The normalized messages of an item's prompt, to compare prompts; for a passage, its whole text."""
    history = tuple(normalize(turn.content) for turn in item.history)
    return (*history, normalize(item.question + item.answer if item.passage else item.question))


def _shortened(item: Item) -> str:
    text = item.answer if item.passage else item.question
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def normalize(text: str) -> str:
    """Fold case and collapse white space, to compare texts."""
    return " ".join(text.casefold().split())
