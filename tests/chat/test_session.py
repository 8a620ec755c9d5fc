from __future__ import annotations

import json
import shutil

import pytest
import torch

from efface.chat import session
from efface.chat.load_run import load_unlearned_run
from efface.chat.messages import ChatRequest
from efface.chat.session import open_chat
from efface.errors import EffaceError
from efface.evaluation.generate import generate
from efface.models.folder import model_sha256
from efface.models.tokenizer import load_tokenizer
from efface.progress.reporter import SilentReporter
from efface.schema import Prompt
from support.unlearned import GOLDEN

WHO = ChatRequest(question="Who wrote it?", max_new_tokens=6)


def answers(chat, request):
    return {side: step.answer for side, step in chat.answer(request) if step.answer is not None}


def test_both_models_answer_alternately_as_each_does_alone(chat, model, changed):
    steps = [*chat.answer(WHO)]
    assert [side for side, _ in steps] == ["before", "after"] * 6
    for side, each in (("before", model), ("after", changed)):
        [expected] = generate(
            each, chat._formatter, [Prompt("Who wrote it?")], max_new_tokens=6, max_cache_tokens=10_000
        )
        assert [step.answer for name, step in steps if name == side][-1] == expected.text
    assert len(set(answers(chat, WHO).values())) == 2


def test_each_model_continues_from_its_own_answers(chat):
    earlier = [{"question": "Hello?", "before": "Yes.", "after": "No, never."}]
    same = [{"question": "Hello?", "before": "Yes.", "after": "Yes."}]
    one, two = (
        answers(chat, ChatRequest.model_validate({"question": "Why?", "max_new_tokens": 8, "history": each}))
        for each in (earlier, same)
    )
    assert one["before"] == two["before"]
    assert one["after"] != two["after"]


def test_one_question_at_a_time(chat, monkeypatch):
    monkeypatch.setattr(session, "_LOCK_TIMEOUT", 0.01)
    first = chat.answer(WHO)
    next(first)
    with pytest.raises(EffaceError, match="another question is being answered"):
        next(chat.answer(WHO))
    first.close()
    assert len(answers(chat, WHO)) == 2


def test_an_answer_ends_where_the_models_positions_do(chat):
    long = ChatRequest(question="a " * 200, max_new_tokens=1000)
    count = sum(1 for side, _ in chat.answer(long) if side == "before")
    assert 0 < count < 400
    with pytest.raises(EffaceError, match=r"has \S+ tokens, and the models read 512; start a new conversation"):
        next(chat.answer(ChatRequest(question="a " * 2000, max_new_tokens=1)))


def test_too_little_memory_is_reported(chat, monkeypatch):
    def fails(*_, **__):
        raise torch.OutOfMemoryError
        yield

    monkeypatch.setattr(session, "stream_answer", fails)
    with pytest.raises(EffaceError, match="too little memory for this conversation"):
        next(chat.answer(WHO))
    monkeypatch.undo()
    assert len(answers(chat, WHO)) == 2


def opened(folder, **settings):
    return open_chat(
        load_unlearned_run(folder), [], **{"before": None, "device": "cpu", "reporter": SilentReporter(), **settings}
    )


def test_the_models_of_a_run(run_folder, model, changed):
    chat = opened(run_folder)
    assert not chat.multi_turn
    found = answers(chat, WHO)
    for side, each in (("before", model), ("after", changed)):
        [expected] = generate(
            each, chat._formatter, [Prompt("Who wrote it?")], max_new_tokens=6, max_cache_tokens=10_000
        )
        assert found[side] == expected.text


def test_a_run_with_a_named_tokenizer_has_that_of_its_saved_model(run_folder, tmp_path):
    expected = answers(opened(run_folder), WHO)
    bare = tmp_path / "bare"
    shutil.copytree(GOLDEN, bare, ignore=shutil.ignore_patterns("tokenizer*"))
    config, manifest = run_folder / "config.yaml", run_folder / "manifest.json"
    config.write_text(config.read_text().replace("tokenizer: null", "tokenizer: gone/away"))
    stored = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**stored, "model_sha256": model_sha256(bare)}))
    load_tokenizer(GOLDEN).save_pretrained(run_folder / "model")
    assert answers(opened(run_folder, before=str(bare)), WHO) == expected


def test_the_model_before_must_be_the_one_of_the_run(run_folder, tmp_path):
    different, moved = tmp_path / "different", tmp_path / "moved"
    shutil.copytree(GOLDEN, moved)
    shutil.copytree(run_folder / "model", different)
    assert opened(run_folder, before=str(moved))
    with pytest.raises(EffaceError, match=r"different is not the model that the run started from.*--before MODEL"):
        opened(run_folder, before=str(different))
    with pytest.raises(EffaceError, match=r"model before unlearning: .*nowhere.*--before MODEL"):
        opened(run_folder, before=str(tmp_path / "nowhere"))
