from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from efface.chat import session
from efface.chat.load_run import load_unlearned_run
from efface.chat.messages import ChatRequest
from efface.chat.session import open_chat
from efface.errors import EffaceError
from efface.evaluation.generate import generate
from efface.progress.reporter import SilentReporter
from efface.schema import Prompt

GOLDEN = Path(__file__).parents[1] / "golden" / "model"
WHO = ChatRequest(question="Who wrote it?", max_new_tokens=6)


def answers(chat, asked):
    return {side: step.answer for side, step in chat.ask(asked) if step.answer is not None}


def test_both_answer_in_turn_as_each_would_alone(talking, model, other):
    steps = [*talking.ask(WHO)]
    assert [side for side, _ in steps] == ["before", "after"] * 6
    for side, each in (("before", model), ("after", other)):
        [expected] = generate(
            each, talking._formatter, [Prompt("Who wrote it?")], max_new_tokens=6, max_cache_tokens=10_000
        )
        assert [step.answer for name, step in steps if name == side][-1] == expected.text
    assert len(set(answers(talking, WHO).values())) == 2


def test_each_model_goes_on_from_its_own_words(talking):
    earlier = [{"question": "Hello?", "before": "Yes.", "after": "No, never."}]
    same = [{"question": "Hello?", "before": "Yes.", "after": "Yes."}]
    one, two = (
        answers(talking, ChatRequest.model_validate({"question": "Why?", "max_new_tokens": 8, "earlier": each}))
        for each in (earlier, same)
    )
    assert one["before"] == two["before"]
    assert one["after"] != two["after"]


def test_one_question_at_a_time(talking, monkeypatch):
    monkeypatch.setattr(session, "_PATIENCE", 0.01)
    first = talking.ask(WHO)
    next(first)
    with pytest.raises(EffaceError, match="another question is being answered"):
        next(talking.ask(WHO))
    first.close()
    assert len(answers(talking, WHO)) == 2


def test_an_answer_ends_where_the_models_positions_do(talking):
    long = ChatRequest(question="a " * 200, max_new_tokens=1000)
    count = sum(1 for side, _ in talking.ask(long) if side == "before")
    assert 0 < count < 400
    with pytest.raises(EffaceError, match=r"take \S+ tokens, and the models read 512; start a new conversation"):
        next(talking.ask(ChatRequest(question="a " * 2000, max_new_tokens=1)))


def test_too_little_memory_is_said(talking, monkeypatch):
    def fails(*_, **__):
        raise torch.OutOfMemoryError
        yield

    monkeypatch.setattr(session, "stream_answer", fails)
    with pytest.raises(EffaceError, match="memory does not hold this conversation"):
        next(talking.ask(WHO))
    monkeypatch.undo()
    assert len(answers(talking, WHO)) == 2


def opened(folder, **settings):
    return open_chat(
        load_unlearned_run(folder), [], **{"before": None, "device": "cpu", "reporter": SilentReporter(), **settings}
    )


def test_the_models_of_a_run(run_folder, model, other):
    chat = opened(run_folder)
    assert not chat.keeps_turns
    found = answers(chat, WHO)
    for side, each in (("before", model), ("after", other)):
        [expected] = generate(
            each, chat._formatter, [Prompt("Who wrote it?")], max_new_tokens=6, max_cache_tokens=10_000
        )
        assert found[side] == expected.text


def test_the_model_before_must_be_that_of_the_run(run_folder, tmp_path, other):
    changed, moved = tmp_path / "changed", tmp_path / "moved"
    shutil.copytree(GOLDEN, moved)
    shutil.copytree(run_folder / "model", changed)
    assert opened(run_folder, before=str(moved))
    with pytest.raises(EffaceError, match=r"changed is not the one that the run started from.*--before MODEL"):
        opened(run_folder, before=str(changed))
    with pytest.raises(EffaceError, match=r"model before unlearning: .*nowhere.*--before says where"):
        opened(run_folder, before=str(tmp_path / "nowhere"))
