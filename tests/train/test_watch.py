"""What is watched: a sample of both sets with one refusal each, and numbers that a plain forward pass confirms."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from efface.schema import Item, Task
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from efface.train.watch import MAX_ITEMS, Watch, WatchedItem, measure, watch_task

GOLDEN = Path(__file__).parents[1] / "golden" / "model"
BETA = 0.1
REFUSALS = ("I don't know.", "I am not sure about that.", "That is beyond me.")


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def formatter():
    return PromptFormatter(AutoTokenizer.from_pretrained(GOLDEN), TextConfig(format="plain"))


def items(count, name="f"):
    return tuple(Item(id=f"{name}/{n}", question=f"Who is {n}?", answer=f"A poet of {n} towns.") for n in range(count))


def task(forget=(), retain=()):
    return Task(name="t", forget=forget, retain=retain, evaluation=(), refusals=REFUSALS, sources={})


def watched(task, formatter, seed=0):
    return watch_task(task, formatter, epoch_ends={4: 1, 8: 2}, beta=BETA, seed=seed)


def logprobs(model, item):
    """Of each token of an answer, by a forward pass of the sequence alone."""
    ids = torch.tensor([item.prompt + item.answer])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    logp = logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
    return logp[len(item.prompt) - 1 :]


def test_the_numbers(model, formatter):
    watch = watched(task(items(3), items(5, "r")), formatter)
    log = measure(model, watch, step=4, max_tokens_per_forward=60)
    for name, set_items in (("forget", watch.forget), ("retain", watch.retain)):
        for kind in ("answer", "refusal"):
            means = [logprobs(model, getattr(item, kind)).mean().item() for item in set_items]
            assert asdict(log)[f"{name}_{kind}"] == pytest.approx(sum(means) / len(means), abs=1e-5)
    weights = []
    for item in watch.retain:
        ratio = (logprobs(model, item.refusal).sum() - logprobs(model, item.answer).sum()).item()
        weights.append(1 / (1 + math.exp(-BETA * ratio)))
    assert log.ap_weight == pytest.approx(sum(weights) / len(weights), abs=1e-5)
    assert (log.step, log.epoch) == (4, 1)
    assert measure(model, watch, step=0, max_tokens_per_forward=60).epoch == 0


def test_texts_are_those_of_the_items_and_of_a_refusal_by_seed(formatter):
    def refusals(watch):
        decode = formatter.tokenizer.decode
        return [
            decode(item.refusal.answer, skip_special_tokens=True).strip() for item in (*watch.forget, *watch.retain)
        ]

    data = task(items(20), items(20, "r"))
    watch = watched(data, formatter)
    assert [item.answer for item in watch.forget] == formatter.encode(
        [(item.id, item.prompt, item.answer) for item in data.forget]
    )
    assert all(item.answer.prompt == item.refusal.prompt for item in watch.retain)
    assert set(refusals(watch)) == set(REFUSALS)
    assert refusals(watch) == refusals(watched(data, formatter))
    assert refusals(watch) != refusals(watched(data, formatter, seed=1))


def test_large_sets_are_sampled_at_equal_distances(formatter):
    watch = watched(task(items(3), items(3 * MAX_ITEMS, "r")), formatter)
    assert [item.answer.id for item in watch.forget] == ["f/0", "f/1", "f/2"]
    assert [item.answer.id for item in watch.retain] == [f"r/{3 * n}" for n in range(MAX_ITEMS)]


def test_passages_have_no_refusal_and_a_set_may_be_empty(model, formatter):
    passage = Item(id="p", question="", answer="A long text about a town.", passage=True)
    watch = watched(task((passage, *items(1))), formatter)
    assert [item.refusal is None for item in watch.forget] == [True, False]
    log = measure(model, watch, step=8, max_tokens_per_forward=1000)
    assert log.forget_refusal == pytest.approx(logprobs(model, watch.forget[1].refusal).mean().item(), abs=1e-5)
    assert log.retain_answer is log.retain_refusal is log.ap_weight is None
    only = measure(model, watched(task((passage,)), formatter), step=8, max_tokens_per_forward=1000)
    assert only.forget_answer is not None
    assert only.forget_refusal is None


def test_numbers_that_are_not_finite_are_null(model, formatter, monkeypatch):
    watch = watched(task(items(1), items(1, "r")), formatter)
    monkeypatch.setattr("efface.train.watch.answer_logprobs", lambda *_, **__: [[math.nan], [-1.0], [-2.0], [-3.0]])
    log = measure(model, watch, step=4, max_tokens_per_forward=9)
    assert (log.forget_answer, log.forget_refusal, log.retain_answer) == (None, -1.0, -2.0)
    json.dumps(asdict(log), allow_nan=False)


def test_a_model_in_training_stays_so_and_drops_nothing(model, formatter):
    watch = Watch((), tuple(WatchedItem(each, None) for each in formatter.encode([("q", items(1)[0].prompt, "Yes.")])),
                  {0: 0}, BETA)  # fmt: skip
    model.train()
    try:
        log = measure(model, watch, step=0, max_tokens_per_forward=9)
        assert model.training
    finally:
        model.eval()
    assert log.retain_answer == pytest.approx(logprobs(model, watch.retain[0].answer).mean().item(), abs=1e-5)
