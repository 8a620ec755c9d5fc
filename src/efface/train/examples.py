"""From planned draws to token ids: each distinct question and answer is tokenized once, ahead of training."""

from __future__ import annotations

from collections.abc import Sequence

from efface.errors import EffaceError
from efface.objectives.terms import Objective, View
from efface.schema import Item, Prompt, Task
from efface.text.formatter import PromptFormatter, TokenizedSequence
from efface.train.config import TrainConfig
from efface.train.sampler import SampledPair, epoch_batches
from efface.train.step import Example

PromptAnswer = tuple[str, Prompt, str]


def unlearning_examples(
    draws: Sequence[Sequence[SampledPair]], views: Sequence[View], formatter: PromptFormatter
) -> list[list[Example]]:
    """The examples of each step, holding the views asked for and no others."""
    rows = [[{view: _row(draw, view) for view in views} for draw in step] for step in draws]
    return _encode(rows, formatter)


def check_task(task: Task, objective: Objective) -> None:
    """Refuse a method that reads what the data does not hold.

    Raises `EffaceError` for a method that keeps without anything to keep, and for one that puts another answer
    behind a passage of running text: nobody asked a question there.
    """
    reads = set(objective.views)
    if not task.retain and not reads.isdisjoint(("forget_mismatch", "retain", "retain_idk")):
        alone = objective.name.partition("+")[0] if objective.name != "llmu" else "ga"
        raise EffaceError(
            f"method {objective.name} needs a retain set, and {task.name} has none; give data.retain=FILE, "
            f"data.retain=model-answers for the model's own answers to generic questions, or method={alone} to forget only"
        )
    answered = {"forget": ("forget_idk", "forget_mismatch"), "retain": ("retain_idk",)}
    for name, items in (("forget", task.forget), ("retain", task.retain)):
        passage = next((item for item in items if item.passage), None)
        if passage is not None and not reads.isdisjoint(answered[name]):
            raise EffaceError(
                f"method {objective.name} answers questions in other words, but item {passage.id!r} of the {name} set "
                "is running text; use me, ga or npo to forget with, and gd or kl to keep with"
            )


def fine_tuning_examples(
    items: Sequence[Item], config: TrainConfig, seed: int, formatter: PromptFormatter
) -> list[list[Example]]:
    """The examples of each step of plain fine-tuning: every item as a `retain` view."""
    steps = epoch_batches([item.id for item in items], config, seed)
    rows: list[list[dict[View, PromptAnswer]]] = [
        [{"retain": (items[index].id, items[index].prompt, items[index].answer)} for _, index in step] for step in steps
    ]
    return _encode(rows, formatter)


def _row(draw: SampledPair, view: View) -> PromptAnswer:
    match view:
        case "forget":
            return draw.forget.id, draw.forget.prompt, draw.forget.answer
        case "forget_idk":
            return draw.forget.id, draw.forget.prompt, draw.forget_refusal
    retain = draw.retain
    assert retain is not None, "check_task lets no objective read what is not there"
    match view:
        case "forget_mismatch":
            return draw.forget.id, draw.forget.prompt, retain.answer
        case "retain":
            return retain.id, retain.prompt, retain.answer
        case "retain_idk":
            return retain.id, retain.prompt, draw.retain_refusal


def _encode(steps: Sequence[Sequence[dict[View, PromptAnswer]]], formatter: PromptFormatter) -> list[list[Example]]:
    distinct = list(dict.fromkeys(row for step in steps for example in step for row in example.values()))
    encoded: dict[PromptAnswer, TokenizedSequence] = dict(zip(distinct, formatter.encode(distinct), strict=True))
    return [[{view: encoded[row] for view, row in example.items()} for example in step] for step in steps]
