"""What `efface data describe` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from efface.artifacts import METRICS
from efface.data.describe import (
    RUN_OF_WORDS,
    Description,
    ItemType,
    Lengths,
    Overlap,
    Sample,
    SetDescription,
    WrongAnswers,
)
from efface.report.key_values import pluralize, print_key_values
from efface.report.sanitize import one_line

_LONGEST_SAMPLE = 200
_LONGEST_TURN = 80
_TURNS = 4
"""So many messages before a question are shown, the last ones."""


def print_description(console: Console, description: Description) -> None:
    """Sets, what they share, what can be scored, and the first items as the model would see them."""
    trained = {"to forget": description.forget, "to keep": description.retain}
    scored = {f"scored: {name}": each for name, each in description.evaluation.items()}
    for name, each in (trained | scored).items():
        if each is not None:
            print_key_values(console, f"{description.task}, {name}", _set_facts(each))
    if description.retain is not None:
        print_key_values(console, "Both to forget and to keep", _overlap_facts(description.overlap))
    can_be_scored = [(metric, description.missing.get(metric, "yes")) for metric in METRICS]
    print_key_values(console, "What can be scored, as far as the data goes", can_be_scored)
    for sample in description.samples:
        what = "to forget" if sample.set == "forget" else "to keep"
        print_key_values(console, f"{sample.id} ({what})", _sample_facts(sample))


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
    talks = pluralize(conversations, "conversation")
    return talks if count == conversations else f"{talks} with {pluralize(count, 'answer')}"


def _wrong_answers(wrong: WrongAnswers) -> str:
    if wrong.minimum == wrong.maximum:
        return f"{wrong.minimum} a question"
    return f"{wrong.minimum} to {wrong.maximum} a question"


def _sample_facts(sample: Sample) -> Iterator[tuple[str, str]]:
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
        f"{lengths.minimum:,} to {lengths.maximum:,} each, half of them up to {lengths.median:,}, 95 % up to "
        f"{lengths.p95:,}"
    )
    if lengths.limit is None:
        return text
    return f"{text}; {lengths.beyond_limit or 'none'} beyond the limit of {lengths.limit:,}"


def _overlap_facts(overlap: Overlap) -> Iterator[tuple[str, str]]:
    yield "questions", f"{overlap.same_question:,} (with different answers)"
    shared = overlap.first_shared
    example = f", such as {shared.forget} and {shared.retain}: {shared.words!r}" if shared else ""
    yield (
        "wording",
        f"{overlap.shared_words:,} answers to forget share {RUN_OF_WORDS} words in a row with one to keep{example}",
    )
