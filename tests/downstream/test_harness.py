"""A model in memory has the scores that its likelihoods and words deserve, and is left as it was."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest
import torch

from efface.downstream.harness import score_downstream
from efface.errors import EffaceError
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
    """What the library asks a model that says nothing."""
    from lm_eval.models.huggingface import HFLM

    asked = []

    def generate(self, requests, disable_tqdm=False):
        asked.extend(request.args[0] for request in requests)
        return [""] * len(requests)

    def loglikelihood(self, requests, disable_tqdm=False):
        asked.extend(request.args for request in requests)
        return [(0.0, False)] * len(requests)

    monkeypatch.setattr(HFLM, "generate_until", generate)
    monkeypatch.setattr(HFLM, "loglikelihood", loglikelihood)
    return asked


def logprob(model, tokenizer, prompt: str, answer: str) -> float:
    """Of the answer after the prompt, by a forward of transformers."""
    start, ids = tokenizer(prompt).input_ids, tokenizer(prompt + answer, return_tensors="pt").input_ids
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    return float(sum(logprobs[place - 1, ids[0, place]] for place in range(len(start), ids.shape[1])))


def test_accuracy_is_that_of_likelihoods_by_hand(model, tokenizer, local, local_tasks):
    rows = [json.loads(line) for line in (local_tasks / "local_arc.test.jsonl").read_text().splitlines()]
    right = {"acc": 0, "acc_norm": 0}
    for row in rows:
        choices = row["choices"]["text"]
        prompt = f"Question: {row['question']}\nAnswer:"
        likely = [logprob(model, tokenizer, prompt, f" {choice}") for choice in choices]
        by_length = [value / len(choice) for value, choice in zip(likely, choices, strict=True)]
        gold = row["choices"]["label"].index(row["answerKey"])
        right["acc"] += likely.index(max(likely)) == gold
        right["acc_norm"] += by_length.index(max(by_length)) == gold
    assert right["acc"] != right["acc_norm"]
    for metric, count in right.items():
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


def test_what_the_model_says_is_compared_with_the_answer(model, tokenizer, local, monkeypatch):
    from lm_eval.models.huggingface import HFLM

    # as in the file: 17 - 2, 7 + 3, ...
    said = {
        "Anna has 17 coins": "15",
        "Ben has 7 coins": "She has 7 and 3 more: #### 10",
        "Clara": "#### 1",
        "David": "",
    }

    def generate(self, requests, disable_tqdm=False):
        questions = [request.args[0].rpartition("Question:")[2] for request in requests]
        return [next(text for start, text in said.items() if f" {start}" in question) for question in questions]

    monkeypatch.setattr(HFLM, "generate_until", generate)
    for filter_, value in (("flexible-extract", 0.5), ("strict-match", 0.25)):
        config = local("local_gsm8k", metrics={"local_gsm8k": f"exact_match,{filter_}"})
        assert score_downstream(model, tokenizer, config, seed=0).tasks["local_gsm8k"].value == value


def test_model_tokenizer_and_random_generators_are_left_as_they_were(model, tokenizer, local):
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


def test_a_failure_leaves_the_model_as_it_was_too(model, tokenizer, local, monkeypatch):
    monkeypatch.setattr("lm_eval.evaluator.evaluate", lambda **_: 1 / 0)
    model.train()
    state = torch.get_rng_state()
    with pytest.raises(EffaceError, match=r"task local_arc cannot be scored \(ZeroDivisionError: division by zero\)"):
        score_downstream(model, tokenizer, local("local_arc"), seed=0)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_is_off(model, tokenizer, local):
    quiet = score_downstream(model, tokenizer, local("local_arc", limit=None), seed=0)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    model.train()
    assert score_downstream(model, tokenizer, local("local_arc", limit=None), seed=0) == quiet


def test_an_adapted_model(model, tokenizer, local):
    from peft import LoraConfig, get_peft_model

    plain = score_downstream(model, tokenizer, local("local_arc", limit=None), seed=0)
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    assert score_downstream(adapted, tokenizer, local("local_arc", limit=None), seed=0) == plain
    own = torch.Generator().manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=3, generator=own)
    assert score_downstream(adapted, tokenizer, local("local_arc", limit=None), seed=0) != plain


def test_the_seed_decides_the_examples_whatever_else_is_scored(model, tokenizer, local, prompts):
    def asked(*tasks: str, seed: int) -> list[str]:
        prompts.clear()
        score_downstream(model, tokenizer, local(*tasks), seed=seed)
        return prompts[-4:]

    first = asked("local_gsm8k", seed=3)
    assert first == asked("local_gsm8k", seed=3) == asked("local_triviaqa", "local_gsm8k", seed=3)
    assert first != asked("local_gsm8k", seed=4)


def test_number_of_examples(model, tokenizer, local, prompts):
    tasks = ("local_truthfulqa", "local_triviaqa", "local_arc")
    scores = score_downstream(model, tokenizer, local(*tasks, num_fewshot=2), seed=0).tasks
    assert [scores[name].num_fewshot for name in tasks] == [0, 2, 2]  # the first says 0 itself
    generated = [prompt for prompt in prompts if isinstance(prompt, str)]
    assert [prompt.count("Answer:") for prompt in generated] == [3] * 4


def test_chat_template(model, tokenizer, local, prompts, refused):
    config = local("local_triviaqa", chat_template=True, num_fewshot=1)
    sentence = "downstream.chat_template=true: the model's tokenizer has no chat template; leave it out"
    assert refused(config) == sentence
    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = (
        "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>"
    )
    score_downstream(model, chatty, config, seed=0)
    assert all(prompt.startswith("<user>Question: ") for prompt in prompts)
    assert all(prompt.count("<user>") == 2 and prompt.endswith("Answer:<assistant>") for prompt in prompts)


def test_nothing_is_printed_and_progress_is_heard(model, tokenizer, local, capfd):
    told = []

    def progress(*news):
        told.append(news)
        print("heard")

    score_downstream(model, tokenizer, local("local_arc", "local_triviaqa"), seed=0, progress=progress)
    out, err = capfd.readouterr()
    assert out == "heard\n" * 20  # four choices of four questions, four texts
    assert err == ""
    assert [news for news in told if news[1] == 4] == [("local_arc", 4, 4), ("local_triviaqa", 4, 4)]
    assert told[0] == ("local_arc", 0, 4)


def test_prompts_that_do_not_fit_are_told(model, tokenizer, local):
    told = []
    score_downstream(model, tokenizer, local("local_arc"), seed=0, warn=told.append)
    assert told == []
    model.config.max_position_embeddings = 60
    config = local("local_arc", "local_truthfulqa", "local_triviaqa", limit=1)
    score_downstream(model, tokenizer, config, seed=0, warn=told.append)
    sentence = (
        "task {}: the 60 tokens that the model reads at once do not hold every prompt with its answer; such prompts "
        "lost their beginning"
    )
    assert told == [sentence.format(name) for name in ("local_truthfulqa", "local_triviaqa")]


def test_a_text_that_the_model_has_no_room_for(model, local, refused):
    model.config.max_position_embeddings = 40
    sentence = refused(local("local_gsm8k"))
    assert sentence.startswith(
        "task local_gsm8k cannot be scored (AssertionError: Invalid configuration: requested max"
    )
    assert sentence.endswith("); leave it out of downstream.tasks")


def test_a_broken_model_is_no_good_guesser(model, local, refused):
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    assert refused(local("local_truthfulqa")) == (  # whose first choice is right
        "task local_truthfulqa: the model gives a log-probability that is not a number: its weights are damaged or "
        "overflow; load it in float32, or train with a lower learning rate"
    )


def test_memory_that_does_not_hold_a_batch(local, refused, monkeypatch):
    def full(**_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("lm_eval.evaluator.evaluate", full)
    assert refused(local("local_arc")) == (
        "task local_arc: the GPU's memory does not hold downstream.batch_size=8 of its prompts; give a smaller one"
    )


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"acc,none": float("nan"), "acc_stderr,none": "N/A"},
            "task local_arc: its acc,none is nan; look at the model",
        ),
        (
            {"f1,none": 1.0, "f1_stderr,none": 0.1, "alias": "a, b"},
            "task local_arc gives no acc; name one of these in downstream.metrics: f1,none",
        ),
    ],
)
def test_results_without_the_number(local, refused, monkeypatch, row, sentence):
    counts = {"local_arc": {"effective": 4}}
    monkeypatch.setattr("lm_eval.evaluator.evaluate", lambda **_: {"results": {"local_arc": row}, "n-samples": counts})
    assert refused(local("local_arc", metrics={"local_arc": "acc"})).startswith(sentence)


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
