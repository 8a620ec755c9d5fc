from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.auditing.attacks import relearn_steps
from efface.auditing.attacks.relearn_steps import relearn
from efface.auditing.subject import Subject
from efface.evaluation.config import EvaluateConfig
from efface.schema import Item, Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

GOLDEN = Path(__file__).parents[2] / "golden" / "model"
ROWS = [Item(id=str(n), question=f"Where is tower {n}?", answer=f"Tower {n} is in Turku.") for n in range(5)]


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, PromptFormatter]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).eval()
    return model, PromptFormatter(AutoTokenizer.from_pretrained(GOLDEN), TextConfig(format="plain"))


def trained(model: Any, formatter: PromptFormatter, **options: Any) -> list[int]:
    settings = {"lr": 1e-2, "batch_size": 2, "looks": (2, 8), "seed": "a", **options}
    return list(relearn(model, formatter, ROWS, **settings))


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_rows_become_likelier_at_every_look(loaded: tuple[Any, PromptFormatter]) -> None:
    model, formatter = copy.deepcopy(loaded[0]), loaded[1]
    subject = Subject("after", model, formatter, EvaluateConfig())
    pairs = [(Prompt(item.question), item.answer) for item in ROWS]
    means = [sum(map(sum, subject.logprobs(pairs)))]
    for step in relearn(model, formatter, ROWS, lr=1e-2, batch_size=2, looks=(2, 8), seed="a"):
        means.append(sum(map(sum, subject.logprobs(pairs))))
        assert step in (2, 8)
        assert not model.training
    assert means == sorted(means)


def test_the_result_depends_on_the_seed_alone(loaded: tuple[Any, PromptFormatter]) -> None:
    found = []
    for seed in ("a", "a", "b"):
        model = copy.deepcopy(loaded[0])
        trained(model, loaded[1], seed=seed)
        found.append(state(model))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_the_weights_are_put_back(loaded: tuple[Any, PromptFormatter]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = copy.deepcopy(loaded[0]).to(dtype)
        before = state(model)
        subject = Subject("after", model, loaded[1], EvaluateConfig())
        with subject.changed():
            trained(model, loaded[1])
            assert not same(before, state(model))
        assert same(before, state(model))
        assert model.dtype == dtype
        assert all(each.requires_grad and each.grad is None for each in model.parameters())


def test_where_memory_is_short_adapters_are_trained(
    loaded: tuple[Any, PromptFormatter], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copy.deepcopy(loaded[0])
    before = state(model)
    monkeypatch.setattr(relearn_steps, "free_memory", lambda _: 1)
    subject = Subject("after", model, loaded[1], EvaluateConfig())
    pairs = [(Prompt(item.question), item.answer) for item in ROWS]
    means = [sum(map(sum, subject.logprobs(pairs)))]
    with subject.changed():
        for _ in relearn(model, loaded[1], ROWS, lr=1e-2, batch_size=2, looks=(8,), seed="a"):
            means.append(sum(map(sum, subject.logprobs(pairs))))
    assert means[1] > means[0] + 1
    assert same(before, state(model))


def test_a_step_that_does_not_fit_is_divided(
    loaded: tuple[Any, PromptFormatter], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, divided = copy.deepcopy(loaded[0]), copy.deepcopy(loaded[0])
    trained(whole, loaded[1], batch_size=4, looks=(1,))
    losses, sizes = relearn_steps.batch_losses, list[int]()

    def limited(*arguments: Any, max_tokens_per_forward: int, **options: Any) -> Any:
        sizes.append(max_tokens_per_forward)
        if len(sizes) == 1:
            raise torch.OutOfMemoryError
        return losses(*arguments, max_tokens_per_forward=max_tokens_per_forward, **options)

    monkeypatch.setattr(relearn_steps, "batch_losses", limited)
    trained(divided, loaded[1], batch_size=4, looks=(1,))
    assert sizes[1] == sizes[0] // 2
    for one, other in zip(whole.parameters(), divided.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
