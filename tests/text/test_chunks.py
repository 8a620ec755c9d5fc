"""Documents in chunks: nothing is lost, no chunk is longer than allowed, and characters stay whole."""

from __future__ import annotations

import re

import pytest

from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task
from efface.text.chunks import chunked, with_chunks
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from support.templates import byte_level

TEXTS = (
    "The museum of Lisbon opened in 1900.",
    "Étés à Zürich: 博物館は日曜日に開く。",
    "<|im_end|> is text here. " * 6,
)


def documents(*texts: str) -> tuple[Item, ...]:
    return tuple(
        Item(id=f"raw/{number:04d}", question="", answer=text, passage=True) for number, text in enumerate(texts, 1)
    )


@pytest.fixture(scope="module")
def formatter() -> PromptFormatter:
    return PromptFormatter(byte_level(), TextConfig(format="plain"))


def lengths(formatter: PromptFormatter, items: tuple[Item, ...]) -> list[int]:
    return [len(each) for each in formatter.encode([(item.id, item.prompt, item.answer) for item in items])]


def without_space(*texts: str) -> str:
    return re.sub(r"\s", "", "".join(texts))


@pytest.mark.parametrize("tokens", [8, 13, 64, 10_000])
def test_nothing_is_lost_and_no_chunk_is_too_long(formatter: PromptFormatter, tokens: int) -> None:
    chunks = chunked(documents(*TEXTS), formatter, tokens)
    assert without_space(*(item.answer for item in chunks)) == without_space(*TEXTS)
    assert max(lengths(formatter, chunks)) <= tokens
    assert all(item.passage and item.question == "" for item in chunks)
    assert len({item.id for item in chunks}) == len(chunks)
    assert chunks[0].id == "raw/chunk/0001"


def test_documents_are_joined_and_cut_at_equal_lengths(formatter: PromptFormatter) -> None:
    chunks = chunked(documents("a" * 30, "b" * 30), formatter, 20)
    assert "".join(item.answer for item in chunks) == "a" * 30 + "\n\n" + "b" * 30
    assert lengths(formatter, chunks)[:-1] == [20] * (len(chunks) - 1)


def test_the_last_chunk_has_two_tokens_for_one_predicts_nothing(formatter: PromptFormatter) -> None:
    assert lengths(formatter, chunked(documents("a" * 41), formatter, 20)) == [20, 19, 2]
    assert chunked(documents("a"), formatter, 20) == ()
    task = Task(name="t", forget=documents("a"), retain=(), evaluation=(), refusals=("-",))
    with pytest.raises(EffaceError, match="the forget set of t has no text"):
        with_chunks(task, formatter, 20)


def test_the_limit_of_the_model_counts_too() -> None:
    limited = PromptFormatter(byte_level(), TextConfig(format="plain"), limit=16)
    assert max(lengths(limited, chunked(documents(*TEXTS), limited, 64))) <= 16


def test_other_items_and_evaluation_sets_stay(formatter: PromptFormatter) -> None:
    question = Item(id="extra/1", question="Who?", answer="She.")
    scored = EvaluationSet(name="forget", items=documents("a b c"), entailment_premise="output")
    task = Task(
        name="t",
        forget=documents(*TEXTS),
        retain=(*documents("x y z"), question),
        evaluation=(scored,),
        refusals=("-",),
    )
    changed = with_chunks(task, formatter, 13)
    assert changed.retain[-1] == question
    assert changed.evaluation == task.evaluation
    assert len(changed.forget) > len(task.forget)
    assert with_chunks(task, formatter, None) == task
    assert chunked((question,), formatter, 13) == (question,)


def test_a_tokenizer_without_offsets(formatter: PromptFormatter, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = chunked(documents(TEXTS[0]), formatter, 9)

    class Slow:
        is_fast = False

        def __init__(self, tokenizer: object) -> None:
            self._tokenizer = tokenizer

        def __call__(self, *arguments: object, **settings: object) -> object:
            assert "return_offsets_mapping" not in settings
            return self._tokenizer(*arguments, **settings)  # type: ignore[operator]

        def __getattr__(self, name: str) -> object:
            return getattr(self._tokenizer, name)

    monkeypatch.setattr(formatter._encoder, "tokenizer", Slow(formatter.tokenizer))
    assert chunked(documents(TEXTS[0]), formatter, 9) == expected
