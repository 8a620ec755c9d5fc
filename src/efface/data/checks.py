"""What must hold for every task, wherever its data comes from. No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from efface.errors import EffaceError
from efface.schema import Item, Task


def checked(task: Task) -> Task:
    """Return the task with a warning for each oddity of its data added.

    Raises `EffaceError` when there is nothing to forget, when an id names two items, or when a question is to be
    forgotten and kept with the same answer. Case and white space do not tell questions or answers apart.
    """
    if not task.forget:
        raise EffaceError(f"the forget set of {task.name} is empty: give it at least one question")
    _refuse_repeated_ids(task.name, (*task.forget, *task.retain))
    for evaluation in task.evaluation:
        _refuse_repeated_ids(f"{task.name} ({evaluation.name} evaluation)", evaluation.items)
    found = (*_conflicts(task), *_repetitions(task))
    return task.model_copy(update={"warnings": (*task.warnings, *found)})


def _refuse_repeated_ids(where: str, items: Iterable[Item]) -> None:
    id, count = Counter(item.id for item in items).most_common(1)[0]
    if count > 1:
        raise EffaceError(f"{where}: {count} items are called {id!r}; ids must be unique")


def _conflicts(task: Task) -> tuple[str, ...]:
    """Refuse what is both forgotten and kept; warn of questions that are so with different answers."""
    kept: dict[str, list[Item]] = defaultdict(list)
    for item in task.retain:
        kept[_plain(item.question)].append(item)
    pairs = [(item, twin) for item in task.forget for twin in kept.get(_plain(item.question), ())]
    for item, twin in pairs:
        if _plain(item.answer) == _plain(twin.answer):
            raise EffaceError(
                f"{item.id} (to forget) and {twin.id} (to keep) are the same question with the same answer "
                f"({item.question!r}): remove one of them"
            )
    if not pairs:
        return ()
    first, twin = pairs[0]
    return (
        f"{len(pairs)} question(s) stand in both the forget and the retain set, with different answers "
        f"(first: {first.id} and {twin.id}, {first.question!r})",
    )


def _repetitions(task: Task) -> tuple[str, ...]:
    seen: dict[tuple[str, str], Item] = {}
    pairs = []
    for item in task.forget:
        twin = seen.setdefault((_plain(item.question), _plain(item.answer)), item)
        if twin is not item:
            pairs.append((twin, item))
    if not pairs:
        return ()
    first, second = pairs[0]
    return (
        f"{len(pairs)} item(s) of the forget set repeat an earlier one, which then weighs more "
        f"(first: {first.id} and {second.id})",
    )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
