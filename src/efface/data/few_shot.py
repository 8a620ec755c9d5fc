"""Questions with answers that are shown before each question that is scored. No torch."""

from __future__ import annotations

from efface.data.config import DataConfig
from efface.data.sources.user_files import load_file
from efface.data.task_checks import prompt_key
from efface.errors import EffaceError
from efface.schema import Item, Task, Turn


def add_few_shot(task: Task, config: DataConfig) -> Task:
    """Put the questions and answers of `config.few_shot` before each question of the evaluation sets.

    Args:
        task: A task.
        config: Settings of its data.

    Returns:
        The task with these examples, after a system prompt and before earlier turns; passages stay as they are. The
        same task if `config.few_shot` is None.

    Raises:
        EffaceError: If the file cannot be used, is not of single questions, or contains a question that is scored.
    """
    if config.few_shot is None:
        return task
    file = load_file(config.few_shot, "few_shot", config.passage_length)
    if any(item.passage or item.history for item in file.items):
        raise EffaceError(f"{file.name}: data.few_shot takes single questions with answers; give a file of these")
    scored = {prompt_key(item): item.id for each in task.evaluation for item in each.items}
    for item in file.items:
        if twin := scored.get(prompt_key(item)):
            raise EffaceError(
                f"{file.name}: {item.id} is the scored question {twin}, whose answer it would show: remove it"
            )
    shots = tuple(
        turn
        for item in file.items
        for turn in (Turn(role="user", content=item.question), Turn(role="assistant", content=item.answer))
    )
    evaluation = tuple(
        each.model_copy(update={"items": tuple(_with_shots(item, shots) for item in each.items)})
        for each in task.evaluation
    )
    return task.model_copy(
        update={
            "evaluation": evaluation,
            "sources": {**task.sources, file.name: file.sha256},
            "warnings": (*task.warnings, *file.warnings),
        }
    )


def _with_shots(item: Item, shots: tuple[Turn, ...]) -> Item:
    if item.passage:
        return item
    system = tuple(turn for turn in item.history[:1] if turn.role == "system")
    return item.model_copy(update={"history": (*system, *shots, *item.history[len(system) :])})
