"""Documents as chunks of at most so many tokens, as pretraining cuts them: items and a tokenizer -> items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from efface.errors import EffaceError
from efface.schema import Item, Prompt, Task
from efface.text.formatter import PromptFormatter

_SEPARATOR = "\n\n"
"""Between two documents, as in MUSE and open-unlearning."""


def with_chunks(task: Task, formatter: PromptFormatter, tokens: int | None) -> Task:
    """Replace the documents of forget and retain set by chunks; evaluation sets stay as they are.

    Args:
        task: A task.
        formatter: Tokenizer and length limit.
        tokens: Most tokens of a chunk; None changes nothing.

    Returns:
        The task with chunks of no more tokens than `tokens` and the formatter's limit.

    Raises:
        EffaceError: The forget set has no text of two tokens.
    """
    forget, retain = (chunked(items, formatter, tokens) for items in (task.forget, task.retain))
    if not forget:
        raise EffaceError(f"the forget set of {task.name} has no text of at least two tokens; give it longer texts")
    return task.model_copy(update={"forget": forget, "retain": retain})


def chunked(items: Sequence[Item], formatter: PromptFormatter, tokens: int | None) -> tuple[Item, ...]:
    """Join documents and cut them into chunks of equal length.

    Args:
        items: Documents; other items stay as they are, after the chunks.
        formatter: Tokenizer and length limit.
        tokens: Most tokens of a chunk, with the token that the tokenizer puts before each text; None changes nothing.

    Returns:
        The chunks in order, with the ids `chunk/0001` and so on after the first part of the ids of the documents; all
        have `tokens` tokens except the last, and those that have more when they are tokenized alone, which are halved.
    """
    texts = [item.answer for item in items if item.passage]
    if not texts or tokens is None:
        return tuple(items)
    others = tuple(item for item in items if not item.passage)
    length = tokens if formatter.limit is None else min(tokens, formatter.limit)
    prefix = next(item.id for item in items if item.passage).partition("/")[0]
    pieces = _cut(formatter, _SEPARATOR.join(texts), length)
    chunks = tuple(
        Item(id=f"{prefix}/chunk/{number:04d}", question="", answer=text, passage=True)
        for number, text in enumerate(pieces, 1)
    )
    return (*chunks, *others)


def _cut(formatter: PromptFormatter, text: str, length: int) -> list[str]:
    """Cut a text, at borders of tokens and never inside a character."""
    [first] = formatter.encode_prompts([Prompt("", passage=True)])
    borders = _borders(formatter.token_starts(text), max(2, length - len(first)))
    pieces = [text[start:end] for start, end in pairwise([*borders, len(text)]) if text[start:end].strip()]
    encoded = formatter.encode_prompts([Prompt(piece, passage=True) for piece in pieces])
    cut: list[str] = []
    for piece, ids in zip(pieces, encoded, strict=True):
        if len(ids) > length and len(piece) < len(text):  # alone, it has more tokens than after what precedes it
            cut += _cut(formatter, piece, (len(ids) + 1) // 2)
        elif len(ids) > 1:  # a single token predicts nothing
            cut.append(piece)
    return cut


def _borders(starts: Sequence[int], room: int) -> list[int]:
    """The characters at which pieces of `room` tokens start; the last has at least two, if there are as many."""
    first_tokens = [*range(0, len(starts), room)]
    if len(first_tokens) > 1 and len(starts) - first_tokens[-1] == 1:
        first_tokens[-1] -= 1
    return [0, *(starts[token] for token in first_tokens[1:])]
