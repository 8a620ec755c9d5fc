"""A model in memory has the scores of its likelihoods and outputs, and is left unchanged."""

from __future__ import annotations

import copy
import datetime
import json
import random

import numpy as np
import pytest
import torch

from efface.downstream.harness import score_downstream
from efface.errors import EffaceError
from efface.text.config import TemplateConfig
from support.downstream import LOCAL


@pytest.fixture
def refused(model, tokenizer):
    def refuse(config) -> str:
        with pytest.raises(EffaceError) as raised:
            score_downstream(model, tokenizer, config, seed=0)
        return str(raised.value)

    return refuse


@pytest.fixture
def prompts(monkeypatch):
    """What the library requests from a model with empty outputs."""
    from lm_eval.models.huggingface import HFLM

    requested = []

    def generate(self, requests, disable_tqdm=False):
        requested.extend(request.args[0] for request in requests)
        return [""] * len(requests)

    def loglikelihood(self, requests, disable_tqdm=False):
        requested.extend(request.args for request in requests)
        return [(0.0, False)] * len(requests)

    monkeypatch.setattr(HFLM, "generate_until", generate)
    monkeypatch.setattr(HFLM, "loglikelihood", loglikelihood)
    return requested


def logprob(model, tokenizer, prompt: str, answer: str) -> float:
    """Of the answer after the prompt, by a forward pass of transformers."""
    start, ids = tokenizer(prompt).input_ids, tokenizer(prompt + answer, return_tensors="pt").input_ids
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    return float(sum(logprobs[index - 1, ids[0, index]] for index in range(len(start), ids.shape[1])))


def test_accuracy_is_that_of_likelihoods_by_hand(model, tokenizer, local, local_tasks):
    rows = [json.loads(line) for line in (local_tasks / "local_arc.test.jsonl").read_text().splitlines()]
    correct = {"acc": 0, "acc_norm": 0}
    for row in rows:
        choices = row["choices"]["text"]
        prompt = f"Question: {row['question']}\nAnswer:"
        likely = [logprob(model, tokenizer, prompt, f" {choice}") for choice in choices]
        by_length = [value / len(choice) for value, choice in zip(likely, choices, strict=True)]
        gold = row["choices"]["label"].index(row["answerKey"])
        correct["acc"] += likely.index(max(likely)) == gold
        correct["acc_norm"] += by_length.index(max(by_length)) == gold
    assert correct["acc"] != correct["acc_norm"]
    for metric, count in correct.items():
        config = local("local_arc", limit=None, metrics={"local_arc": metric})
        scored = score_downstream(model, tokenizer, config, seed=0).tasks["local_arc"]
        share = count / len(rows)
        assert (scored.metric, scored.value, scored.n, scored.num_fewshot) == (metric, share, 32, 0)
        assert scored.standard_error == pytest.approx((share * (1 - share) / (len(rows) - 1)) ** 0.5)


def test_every_local_task(model, tokenizer, local):
    scores = score_downstream(model, tokenizer, local(*LOCAL), seed=0)
    assert {name: (task.metric, task.n, task.num_fewshot) for name, task in scores.tasks.items()} == {
        "local_arc": ("acc_norm", 4, 0),
        "local_truthfulqa": ("acc", 4, 0),
        "local_mmlu": ("acc", 8, 5),  # of two subjects
        "local_triviaqa": ("exact_match,remove_whitespace", 4, 5),
        "local_gsm8k": ("exact_match,flexible-extract", 4, 5),
    }
    assert scores.average == sum(task.value for task in scores.tasks.values()) / 5
    assert scores.to_json() == {"schema": 1, **json.loads(scores.model_dump_json(exclude={"schema_version"}))}


def test_a_group_is_the_mean_over_its_questions(model, tokenizer, local):
    subjects = ("local_mmlu_arithmetic", "local_mmlu_geography")
    parts = score_downstream(model, tokenizer, local(*subjects), seed=0).tasks
    both = score_downstream(model, tokenizer, local("local_mmlu"), seed=0).tasks["local_mmlu"]
    assert both.value == pytest.approx(sum(part.value for part in parts.values()) / 2)


def test_outputs_are_compared_with_the_answer(model, tokenizer, local, monkeypatch):
    from lm_eval.models.huggingface import HFLM

    # as in the file: 17 - 2, 7 + 3, ...
    outputs = {
        "Anna has 17 coins": "15",
        "Ben has 7 coins": "She has 7 and 3 more: #### 10",
        "Clara": "#### 1",
        "David": "",
    }

    def generate(self, requests, disable_tqdm=False):
        questions = [request.args[0].rpartition("Question:")[2] for request in requests]
        return [next(text for start, text in outputs.items() if f" {start}" in question) for question in questions]

    monkeypatch.setattr(HFLM, "generate_until", generate)
    for filter_, value in (("flexible-extract", 0.5), ("strict-match", 0.25)):
        config = local("local_gsm8k", metrics={"local_gsm8k": f"exact_match,{filter_}"})
        assert score_downstream(model, tokenizer, config, seed=0).tasks["local_gsm8k"].value == value


def test_model_tokenizer_and_random_generators_are_left_unchanged(model, tokenizer, local):
    model.train()
    model.model.layers[0].eval()
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token = None
    modes = [module.training for module in model.modules()]
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    configs = model.config.to_dict(), model.generation_config.to_dict(), sorted(vars(model))
    tokens = tokenizer.special_tokens_map.copy(), tokenizer.padding_side, len(tokenizer)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    score_downstream(model, tokenizer, local("local_arc", "local_triviaqa"), seed=7)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert (model.config.to_dict(), model.generation_config.to_dict(), sorted(vars(model))) == configs
    assert (tokenizer.special_tokens_map, tokenizer.padding_side, len(tokenizer)) == tokens
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_a_failure_leaves_the_model_unchanged_too(model, tokenizer, local, monkeypatch):
    monkeypatch.setattr("lm_eval.evaluator.evaluate", lambda **_: 1 / 0)
    model.train()
    state = torch.get_rng_state()
    with pytest.raises(EffaceError, match=r"task local_arc cannot be scored \(ZeroDivisionError: division by zero\)"):
        score_downstream(model, tokenizer, local("local_arc"), seed=0)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_is_off(model, tokenizer, local):
    plain = score_downstream(model, tokenizer, local("local_arc", limit=None), seed=0)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    model.train()
    assert score_downstream(model, tokenizer, local("local_arc", limit=None), seed=0) == plain


def test_an_adapted_model(model, tokenizer, local):
    from peft import LoraConfig, get_peft_model

    plain = score_downstream(model, tokenizer, local("local_arc", limit=None), seed=0)
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    assert score_downstream(adapted, tokenizer, local("local_arc", limit=None), seed=0) == plain
    generator = torch.Generator().manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=3, generator=generator)
    assert score_downstream(adapted, tokenizer, local("local_arc", limit=None), seed=0) != plain


def test_the_seed_decides_the_examples_of_each_task(model, tokenizer, local, prompts):
    def examples(*tasks: str, seed: int) -> list[str]:
        prompts.clear()
        score_downstream(model, tokenizer, local(*tasks), seed=seed)
        return prompts[-4:]

    first = examples("local_gsm8k", seed=3)
    assert first == examples("local_gsm8k", seed=3) == examples("local_triviaqa", "local_gsm8k", seed=3)
    assert first != examples("local_gsm8k", seed=4)


def test_number_of_examples(model, tokenizer, local, prompts):
    tasks = ("local_truthfulqa", "local_triviaqa", "local_arc")
    scores = score_downstream(model, tokenizer, local(*tasks, num_fewshot=2), seed=0).tasks
    assert [scores[name].num_fewshot for name in tasks] == [0, 2, 2]  # 0 in the file of the first
    generated = [prompt for prompt in prompts if isinstance(prompt, str)]
    assert [prompt.count("Answer:") for prompt in generated] == [3] * 4


def test_chat_template(model, tokenizer, local, prompts, refused):
    config = local("local_triviaqa", chat_template=True, num_fewshot=1)
    assert refused(config).startswith("downstream.chat_template=true: the model's tokenizer has no chat template")
    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = (
        "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>"
    )
    score_downstream(model, chatty, config, seed=0)
    assert all(prompt.startswith("<user>Question: ") for prompt in prompts)
    assert all(prompt.count("<user>") == 2 and prompt.endswith("Answer:<assistant>") for prompt in prompts)


def test_a_chat_template_shows_the_system_turn_and_the_date_that_are_set(model, tokenizer, local, prompts):
    chatty = copy.deepcopy(tokenizer)
    shown = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    chatty.chat_template = "{{ strftime_now('%d %b %Y') }}" + shown
    config = local("local_triviaqa", chat_template=True)
    score_downstream(model, chatty, config, seed=0)
    assert all(prompt.startswith("26 Jul 2024<user>") for prompt in prompts)
    prompts.clear()
    text = TemplateConfig(system="Be kind.", date=datetime.date(2025, 4, 10))
    score_downstream(model, chatty, config, seed=0, text=text)
    assert all(prompt.startswith("10 Apr 2025<system>Be kind.<user>") for prompt in prompts)
    prompts.clear()
    score_downstream(model, chatty, local("local_triviaqa"), seed=0, text=text)
    assert not any("kind" in prompt for prompt in prompts)
    assert "strftime_now('%d" in chatty.chat_template


def test_an_output_that_exceeds_the_positions_of_the_model_is_refused(model, local, refused):
    model.config.max_position_embeddings = 40
    message = refused(local("local_gsm8k"))
    assert message.startswith("task local_gsm8k cannot be scored (AssertionError: Invalid configuration")
    assert "leave it out of downstream.tasks" in message


def test_a_batch_that_does_not_fit_into_memory_is_refused(local, refused, monkeypatch):
    def full(**_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("lm_eval.evaluator.evaluate", full)
    message = refused(local("local_arc"))
    assert "task local_arc" in message
    assert "memory does not hold downstream.batch_size=8" in message


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (
            {"acc,none": float("nan"), "acc_stderr,none": "N/A"},
            ["task local_arc", "acc,none is nan"],
        ),
        (
            {"f1,none": 1.0, "f1_stderr,none": 0.1, "alias": "a, b"},
            ["task local_arc", "no result acc", "downstream.metrics", "f1,none"],
        ),
    ],
)
def test_results_without_the_metric_are_refused(local, refused, monkeypatch, row, named):
    counts = {"local_arc": {"effective": 4}}
    monkeypatch.setattr("lm_eval.evaluator.evaluate", lambda **_: {"results": {"local_arc": row}, "n-samples": counts})
    message = refused(local("local_arc", metrics={"local_arc": "acc"}))
    assert all(part in message for part in named)


def test_a_metric_without_a_formula_for_its_error(model, tokenizer, tmp_path, local_tasks, local, capfd):
    text = (local_tasks / "local_truthfulqa.yaml").read_text()
    text = text.replace("task: local_truthfulqa", "task: mine").replace("metric: acc", "metric: mcc")
    (tmp_path / "mine.yaml").write_text(text.replace("aggregation: mean", "aggregation: matthews_corrcoef"))
    config = local("mine", include=str(tmp_path), limit=None)
    task = score_downstream(model, tokenizer, config, seed=0).tasks["mine"]
    assert task.metric == "mcc"
    assert task.standard_error is not None
    assert capfd.readouterr() == ("", "")


def test_one_question_has_no_error(model, tokenizer, local):
    assert (
        score_downstream(model, tokenizer, local("local_arc", limit=1), seed=0).tasks["local_arc"].standard_error
        is None
    )
