"""What must hold for every task, wherever its data comes from. No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from efface.errors import EffaceError
from efface.schema import Item, Task

PromptKey = tuple[str, ...]
_SHOWN = 80
"""So many characters of a text are shown in a complaint."""


def check_task_items(task: Task) -> Task:
    """Return the task with a warning for each oddity of its data added.

    Raises `EffaceError` when there is nothing to forget, when an id names two items, or when a question is to be
    forgotten and kept with the same answer after the same conversation, or a passage to be forgotten and kept. Case
    and white space do not tell texts apart.
    """
    if not task.forget:
        raise EffaceError(f"the forget set of {task.name} is empty: give it at least one question")
    _refuse_repeated_ids(task.name, (*task.forget, *task.retain))
    for evaluation in task.evaluation:
        _refuse_repeated_ids(f"{task.name} ({evaluation.name} evaluation)", evaluation.items)
    found = (*find_conflicts(task), *_repetitions(task))
    return task.model_copy(update={"warnings": (*task.warnings, *found)})


def _refuse_repeated_ids(where: str, items: Iterable[Item]) -> None:
    for id, count in Counter(item.id for item in items).most_common(1):
        if count > 1:
            raise EffaceError(f"{where}: {count} items are called {id!r}; ids must be unique")


def find_conflicts(task: Task) -> tuple[str, ...]:
    """Refuse what is both forgotten and kept; warn of questions that are so with different answers."""
    kept: dict[PromptKey, list[Item]] = defaultdict(list)
    for item in task.retain:
        kept[prompt_key(item)].append(item)
    pairs = [(item, twin) for item in task.forget for twin in kept.get(prompt_key(item), ())]
    for item, twin in pairs:
        if normalize(item.answer) == normalize(twin.answer):
            what = "passage" if item.passage else "question with the same answer"
            raise EffaceError(
                f"{item.id} (to forget) and {twin.id} (to keep) are the same {what} "
                f"({_shown(item)!r}): remove one of them"
            )
    if not pairs:
        return ()
    first, twin = pairs[0]
    return (
        f"{len(pairs)} question(s) stand in both the forget and the retain set, with different answers "
        f"(first: {first.id} and {twin.id}, {_shown(first)!r})",
    )


def _repetitions(task: Task) -> tuple[str, ...]:
    seen: dict[tuple[PromptKey, str], Item] = {}
    pairs = []
    for item in task.forget:
        twin = seen.setdefault((prompt_key(item), normalize(item.answer)), item)
        if twin is not item:
            pairs.append((twin, item))
    if not pairs:
        return ()
    first, second = pairs[0]
    return (
        f"{len(pairs)} item(s) of the forget set repeat an earlier one, which then weighs more "
        f"(first: {first.id} and {second.id})",
    )


def prompt_key(item: Item) -> PromptKey:
    """What an answer goes on from; a whole passage is its own, since it goes on from nothing."""
    said = tuple(normalize(turn.content) for turn in item.history)
    return (*said, normalize(item.question + item.answer if item.passage else item.question))


def _shown(item: Item) -> str:
    text = item.answer if item.passage else item.question
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def normalize(text: str) -> str:
    """The text without what tells nothing apart: case, and how words are spaced."""
    return " ".join(text.casefold().split())
