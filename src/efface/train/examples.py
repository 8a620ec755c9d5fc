"""From planned draws to token ids: each distinct question and answer is tokenized once, ahead of training."""

from __future__ import annotations

from collections.abc import Sequence

from efface.objectives.terms import View
from efface.schema import Item
from efface.text.template import Encoded, Formatter
from efface.train.config import TrainConfig
from efface.train.plan import Draw, batches
from efface.train.step import Example

Row = tuple[str, str, str]


def unlearning_examples(
    draws: Sequence[Sequence[Draw]], views: Sequence[View], formatter: Formatter
) -> list[list[Example]]:
    """The examples of each step, holding the views asked for and no others."""
    rows = [[{view: _row(draw, view) for view in views} for draw in step] for step in draws]
    return _encode(rows, formatter)


def fine_tuning_examples(
    items: Sequence[Item], config: TrainConfig, seed: int, formatter: Formatter
) -> list[list[Example]]:
    """The examples of each step of plain fine-tuning: every item as a `retain` view."""
    steps = batches([item.id for item in items], config, seed)
    rows: list[list[dict[View, Row]]] = [
        [{"retain": (items[index].id, items[index].question, items[index].answer)} for _, index in step]
        for step in steps
    ]
    return _encode(rows, formatter)


def _row(draw: Draw, view: View) -> Row:
    match view:
        case "forget":
            return draw.forget.id, draw.forget.question, draw.forget.answer
        case "forget_idk":
            return draw.forget.id, draw.forget.question, draw.forget_refusal
        case "forget_mismatch":
            return draw.forget.id, draw.forget.question, draw.retain.answer
        case "retain":
            return draw.retain.id, draw.retain.question, draw.retain.answer
        case "retain_idk":
            return draw.retain.id, draw.retain.question, draw.retain_refusal


def _encode(steps: Sequence[Sequence[dict[View, Row]]], formatter: Formatter) -> list[list[Example]]:
    distinct = list(dict.fromkeys(row for step in steps for example in step for row in example.values()))
    encoded: dict[Row, Encoded] = dict(zip(distinct, formatter.encode(distinct), strict=True))
    return [[{view: encoded[row] for view, row in example.items()} for example in step] for step in steps]
