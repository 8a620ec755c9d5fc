from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from efface.auditing.subject import Subject
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.schema import Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

GOLDEN = Path(__file__).parents[1] / "golden" / "model"
PROMPTS = [Prompt("Where is tower A?"), Prompt("Who?")]


@pytest.fixture(scope="module")
def subject() -> Subject:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).eval()
    formatter = PromptFormatter(AutoTokenizer.from_pretrained(GOLDEN), TextConfig(format="plain"), limit=64)
    return Subject("after", model, formatter, EvaluateConfig())


def greedy(subject: Subject, ids: list[int], count: int) -> str:
    """One token after another, without a cache."""
    made: list[int] = []
    for _ in range(count):
        with torch.no_grad():
            token = int(subject.model(input_ids=torch.tensor([ids + made])).logits[0, -1].argmax())
        if token in subject.formatter.stop_ids:
            break
        made.append(token)
    return subject.decode([made])[0]


def test_answers_are_greedy(subject: Subject) -> None:
    expected = [greedy(subject, ids, 5) for ids in subject.formatter.encode_prompts(PROMPTS)]
    assert subject.answer(PROMPTS, max_new_tokens=5) == expected


def test_an_answer_goes_on_from_its_start(subject: Subject) -> None:
    starts = ["Tower A is", "Nobody"]
    ids = subject.formatter.encode_started(PROMPTS, starts)
    prompts = subject.formatter.encode_prompts(PROMPTS)
    assert all(len(started) > len(prompt) for started, prompt in zip(ids, prompts, strict=True))
    assert subject.tokenizer.decode(ids[0]).endswith("Answer: Tower A is")
    assert subject.answer(PROMPTS, max_new_tokens=5, starts=starts) == [greedy(subject, each, 5) for each in ids]


def test_an_empty_start_is_the_prompt(subject: Subject) -> None:
    assert subject.formatter.encode_started(PROMPTS, ["", ""]) == subject.formatter.encode_prompts(PROMPTS)


def test_another_format_is_another_prompt(subject: Subject) -> None:
    bare = subject.answer(PROMPTS[:1], max_new_tokens=5, text_format="{question} {answer}")
    ids = subject.formatter.tokenizer(PROMPTS[0].question).input_ids
    assert bare == [greedy(subject, subject.formatter._with_bos(ids), 5)]


def test_a_prompt_that_leaves_no_room_is_refused(subject: Subject) -> None:
    with pytest.raises(EffaceError):
        subject.answer(PROMPTS, max_new_tokens=100_000)


def test_log_probabilities_are_those_of_the_model(subject: Subject) -> None:
    [found] = subject.logprobs([(PROMPTS[0], "Tower A.")])
    [sequence] = subject.formatter.encode([("x", PROMPTS[0], "Tower A.")])
    with torch.no_grad():
        logits = subject.model(input_ids=torch.tensor([sequence.ids])).logits[0].log_softmax(-1)
    expected = [float(logits[sequence.prompt_length - 1 + n, token]) for n, token in enumerate(sequence.answer)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_changes_are_undone_even_after_an_error(subject: Subject) -> None:
    model = copy.deepcopy(subject.model)
    own = Subject("after", model, subject.formatter, subject.evaluate)
    before = {name: each.clone() for name, each in model.state_dict().items()}

    def change() -> None:
        with own.changed() as changed:
            for parameter in changed.parameters():
                parameter.data.zero_()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
