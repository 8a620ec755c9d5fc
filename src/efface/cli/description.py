"""What `efface data describe` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from efface.artifacts import METRICS
from efface.data.describe import RUN_OF_WORDS, Description, Lengths, Overlap, SetDescription
from efface.report.facts import print_facts
from efface.report.text import one_line

_LONGEST_SAMPLE = 200


def print_description(console: Console, description: Description) -> None:
    """Sets, what they share, what can be scored, and the first items as the model would see them."""
    trained = {"to forget": description.forget, "to keep": description.retain}
    scored = {f"scored: {name}": each for name, each in description.evaluation.items()}
    for name, each in (trained | scored).items():
        if each is not None:
            print_facts(console, f"{description.task}, {name}", _set_facts(each))
    if description.retain is not None:
        print_facts(console, "Both to forget and to keep", _overlap_facts(description.overlap))
    print_facts(console, "What can be scored", [(metric, description.missing.get(metric, "yes")) for metric in METRICS])
    for sample in description.samples:
        said = [("question", sample.question), ("answer", sample.answer)]
        shown = [(name, one_line(text, _LONGEST_SAMPLE)) for name, text in said if text.strip()]
        print_facts(console, f"{sample.id} ({'to forget' if sample.set == 'forget' else 'to keep'})", shown)


def _set_facts(each: SetDescription) -> Iterator[tuple[str, str]]:
    yield "items", ", ".join(f"{count:,} {kind}" for kind, count in each.kinds.items())
    yield each.lengths.unit, _lengths(each.lengths)
    yield "repeated", f"{each.repeated:,}" if each.repeated else "none"


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
