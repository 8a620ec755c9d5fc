"""The data of a run or a queue -> the same with what only the model can add: its own answers, documents in chunks."""

from __future__ import annotations

from collections.abc import Sequence

from efface.config.commands import RunConfig
from efface.data.sources.documents import chunk_tokens
from efface.data.sources.generic_questions import with_model_answers
from efface.models.open import OpenedModel
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.run.model_answers import resolve_model_answers
from efface.schema import Task
from efface.text.chunks import with_chunks


def complete_tasks(
    tasks: Sequence[Task],
    config: RunConfig,
    folder: RunFolder,
    opened: OpenedModel,
    *,
    reporter: Reporter,
    placeholder_answers: bool,
) -> tuple[list[Task], dict[str, str] | None]:
    """Add the model's own answers where these are the retain set, and cut documents into chunks of its tokens.

    Args:
        tasks: The data of each request.
        config: The settings of the run or the queue.
        folder: Where an earlier part of it may have written answers; nothing is written here.
        opened: The model before unlearning.
        reporter: Gets the stage and its progress.
        placeholder_answers: Use placeholders in place of answers that the model would have to generate.

    Returns:
        The tasks in their order, and the answers: id of a question -> answer, None where the retain set is something
        else.

    Raises:
        EffaceError: The answers on disk are damaged, a question leaves no space for an answer, or a forget set has no
            text of two tokens.
    """
    answers = resolve_model_answers(
        folder,
        config.data,
        opened,
        forget=[item for task in tasks for item in task.forget],
        config=config.evaluate,
        reporter=reporter,
        placeholders=placeholder_answers,
    )
    if answers is not None:
        tasks = [with_model_answers(task, answers, retain_evaluation=config.data.retain_evaluation) for task in tasks]
    return [with_chunks(task, opened.formatter, chunk_tokens(config.data)) for task in tasks], answers
