"""The description of a task -> the tables that `efface data check` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from efface.artifacts import METRICS
from efface.data.describe import (
    RUN_OF_WORDS,
    Description,
    ExampleItem,
    ItemType,
    Lengths,
    Overlap,
    SetDescription,
    WrongAnswers,
)
from efface.report.number_format import pluralize
from efface.report.sanitize import one_line
from efface.report.terminal.key_values import print_key_values

_LONGEST_SAMPLE = 200
_LONGEST_TURN = 80
_TURNS = 4
"""Number of messages before a question that are shown, counted from the last."""


def print_description(console: Console, description: Description) -> None:
    """Print the sets, their overlap, which metrics can be computed, and the first items as the model sees them."""
    trained = {"forget set": description.forget, "retain set": description.retain}
    scored = {f"scored: {name}": each for name, each in description.evaluation.items()}
    for name, each in (trained | scored).items():
        if each is not None:
            print_key_values(console, f"{description.task}, {name}", _set_facts(each))
    if description.retain is not None:
        print_key_values(console, "Overlap of forget set and retain set", _overlap_facts(description.overlap))
    computable = [(metric, description.missing.get(metric, "yes")) for metric in METRICS]
    print_key_values(console, "Metrics that can be computed from this data", computable)
    print_key_values(console, "Whether an answer is given", [("judged", description.judged)])
    for sample in description.samples:
        print_key_values(console, f"{sample.id} ({sample.set} set)", _sample_facts(sample))


def _set_facts(each: SetDescription) -> Iterator[tuple[str, str]]:
    yield (
        "items",
        ", ".join(_count_facts(item_type, count, each.conversations) for item_type, count in each.item_types.items()),
    )
    if each.wrong_answers is not None:
        yield "wrong answers", _wrong_answers(each.wrong_answers)
    yield each.lengths.unit, _lengths(each.lengths)
    yield "repeated", f"{each.repeated:,}" if each.repeated else "none"


def _count_facts(item_type: ItemType, count: int, conversations: int) -> str:
    if item_type != "conversations":
        return pluralize(count, item_type.removesuffix("s"))
    text = pluralize(conversations, "conversation")
    return text if count == conversations else f"{text} with {pluralize(count, 'answer')}"


def _wrong_answers(wrong: WrongAnswers) -> str:
    if wrong.minimum == wrong.maximum:
        return f"{wrong.minimum} per question"
    return f"{wrong.minimum} to {wrong.maximum} per question"


def _sample_facts(sample: ExampleItem) -> Iterator[tuple[str, str]]:
    system = [turn for turn in sample.history if turn.role == "system"]
    earlier = [turn for turn in sample.history if turn.role != "system"]
    for turn in system:
        yield "system", one_line(turn.content, _LONGEST_TURN)
    if len(earlier) > _TURNS:
        yield "earlier", f"{pluralize(len(earlier) - _TURNS, 'message')} not shown here"
    for turn in earlier[-_TURNS:]:
        yield turn.role, one_line(turn.content, _LONGEST_TURN)
    for name, text in (("question", sample.question), ("answer", sample.answer)):
        if text.strip():
            yield name, one_line(text, _LONGEST_SAMPLE)


def _lengths(lengths: Lengths) -> str:
    text = (
        f"{lengths.minimum:,} to {lengths.maximum:,} per item, median {lengths.median:,}, 95th percentile "
        f"{lengths.p95:,}"
    )
    if lengths.limit is None:
        return text
    return f"{text}; {lengths.beyond_limit or 'none'} over the limit of {lengths.limit:,}"


def _overlap_facts(overlap: Overlap) -> Iterator[tuple[str, str]]:
    yield "questions", f"{overlap.same_question:,} in both (with different answers)"
    shared = overlap.first_shared
    example = f", such as {shared.forget} and {shared.retain}: {shared.words!r}" if shared else ""
    yield (
        "wording",
        f"{overlap.shared_words:,} answers of the forget set share {RUN_OF_WORDS} consecutive words "
        f"with one of the retain set{example}",
    )
