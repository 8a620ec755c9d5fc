"""Part 4: decoding against the bandwidth of the memory, likelihoods, and a whole evaluation of 400 questions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from acceptance.judges import write_embedder, write_judge
from acceptance.sizes import Sizes
from acceptance.stages import Measurements, Row, synchronized_seconds
from acceptance.training import peak_gib
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.decoding.kv_cache import cache_elements_per_token
from efface.evaluation.encode import EncodedQuestion, encode_evaluation
from efface.evaluation.evaluate import evaluate
from efface.evaluation.generate import Generation, generate_from_ids
from efface.evaluation.judging.judges import Judges, open_judges
from efface.evaluation.likelihoods import likelihoods
from efface.schema import EvaluationSet
from efface.text.formatter import PromptFormatter
from measure import Traffic
from shapes import Shape, build_model
from workload import formatter_for, load_text

QUESTIONS = "the 400 questions at 1B"
_COPIES = 5
_SEED = 0


def of_1b(sizes: Sizes, device: str) -> Measurements:
    """The 400 questions and all parts of their evaluation, at 1B."""
    shape = sizes.models["1B"]
    return {
        QUESTIONS: partial(_evaluation, shape, sizes, device),
        f"likelihoods of {QUESTIONS}": partial(_likelihoods, shape, sizes, device),
        **_sweep(sizes, device, "1B"),
        f"transformers' generate, {max(sizes.decoded_rows)} rows of 1B": partial(_generate, shape, sizes, device),
    }


def of_7b(sizes: Sizes, device: str) -> Measurements:
    """The decoding sweep at 7B."""
    return _sweep(sizes, device, "7B")


def _sweep(sizes: Sizes, device: str, model: str) -> Measurements:
    return {
        f"decoding {rows} rows of {model}": partial(_decoding, sizes.models[model], rows, sizes, device)
        for rows in sizes.decoded_rows
    }


def _decoding(shape: Shape, rows: int, sizes: Sizes, device: str) -> Row:
    model = random_model(shape, device)
    decode(model, rows, 2)
    outputs, traffic = list[Generation](), Traffic(model)
    seconds = synchronized_seconds(lambda: outputs.extend(decode(model, rows, sizes.decoded_tokens)), device)
    tokens = sum(len(each.token_ids) for each in outputs)
    longest = max(len(each.token_ids) for each in outputs)
    traffic.stop()
    steps = max(longest, traffic.forwards)  # more if not all rows fit into the cache at once
    read = steps * _weight_bytes(model) + _cache_bytes(model, [len(each) for each in _prompts(rows)], outputs)
    bandwidth = copy_bandwidth(sizes.copied_bytes, device)
    return {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "milliseconds_per_step": 1e3 * seconds / steps,
        "bytes_per_second": read / seconds,
        "bandwidth": bandwidth,
        "share_of_bandwidth": read / seconds / bandwidth,
        **peak_gib(device),
    }


def decode(model: Any, rows: int, new_tokens: int) -> list[Generation]:
    """Decode some prompts as an evaluation does."""
    return generate_from_ids(model, _text()[0], _prompts(rows), max_new_tokens=new_tokens, max_cache_tokens=None)


def _generate(shape: Shape, sizes: Sizes, device: str) -> Row:
    """The same outputs by transformers, for comparison."""
    model, prompts = random_model(shape, device), _prompts(max(sizes.decoded_rows))
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)

    def generate(new_tokens: int) -> None:
        model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, min_new_tokens=new_tokens, max_new_tokens=new_tokens
        )

    generate(2)
    seconds = synchronized_seconds(lambda: generate(sizes.decoded_tokens), device)
    return {"seconds": seconds, "tokens_per_second": len(prompts) * sizes.decoded_tokens / seconds}


def _likelihoods(shape: Shape, sizes: Sizes, device: str) -> Row:
    model, config = random_model(shape, device), EvaluateConfig(max_new_tokens=sizes.output_tokens)
    questions = _encoded(model, sizes, config)

    def compute(some: Sequence[EncodedQuestion]) -> None:
        likelihoods(model, some, max_tokens_per_forward=config.max_tokens_per_forward)

    compute(questions[:1])
    seconds = synchronized_seconds(lambda: compute(questions), device)
    tokens = sum(len(answer) for question in questions for answer in question.answers)
    return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds, **peak_gib(device)}


def _evaluation(shape: Shape, sizes: Sizes, device: str) -> Row:
    """The first evaluation of a process and a second one, judges included; models are loaded before."""
    model, formatter = random_model(shape, device), _text()[0]
    config = EvaluateConfig(max_new_tokens=sizes.output_tokens)
    sets, judges = _sets(sizes.questions), _judges(sizes, device)

    def work() -> None:
        evaluate(model, formatter, sets, config=config, judges=judges, before=None)

    first = synchronized_seconds(work, device)
    return {
        "questions": sum(len(each.items) for each in sets),
        "first_seconds": first,
        "again_seconds": synchronized_seconds(work, device),
        **peak_gib(device),
    }


def _encoded(model: Any, sizes: Sizes, config: EvaluateConfig) -> list[EncodedQuestion]:
    return list(encode_evaluation(model, _text()[0], _sets(sizes.questions), config))


def _sets(questions: int) -> list[EvaluationSet]:
    """The first of the task's evaluation sets, as many questions as are asked for."""
    first = _text()[1][0]
    return [first.model_copy(update={"items": first.items[:questions]})]


def _judges(sizes: Sizes, device: str) -> Judges:
    """Judges of the usual sizes with random weights."""
    with TemporaryDirectory(prefix="efface-") as folder:
        embedder, judge = Path(folder) / "embedder", Path(folder) / "judge"
        tokenizer = _text()[0].tokenizer
        write_embedder(embedder, tokenizer, sizes.embedder)
        write_judge(judge, tokenizer, sizes.judge)
        return open_judges(EvaluateConfig(embedder=str(embedder), judge=str(judge)), torch.device(device))


@cache
def random_model(shape: Shape, device: str) -> Any:
    """A model in evaluation mode, in the dtype of an evaluation, made once in a process.

    It generates only what the tokenizer can decode, and never the end of a sequence: other rows of its head are zero,
    whose logits are below the best of thousands of random ones.
    """
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = build_model(shape, seed=_SEED, dtype=dtype, device=torch.device(device)).eval()
    tokenizer = _text()[0].tokenizer
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[len(tokenizer) :] = 0
        head[tokenizer.eos_token_id] = 0
    return model


@cache
def _text() -> tuple[PromptFormatter, Sequence[EvaluationSet]]:
    task, source = load_text()
    return formatter_for(task, source), task.evaluation


def _prompts(rows: int) -> list[list[int]]:
    """So many prompts of the evaluation."""
    formatter, sets = _text()
    items = [item for set_ in sets for item in set_.items]
    return formatter.encode_prompts([items[row % len(items)].prompt for row in range(rows)])


def _weight_bytes(model: Any) -> int:
    """Bytes of weights that one step reads: all but the embeddings, unless they are the head, too."""
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    return sum(each.nbytes for each in model.parameters()) - (0 if head is table else int(table.nbytes))


def _cache_bytes(model: Any, prompt_lengths: Sequence[int], outputs: Sequence[Generation]) -> int:
    """Bytes of keys and values that all steps read, padding excluded."""
    lengths = zip(prompt_lengths, (len(each.token_ids) for each in outputs), strict=True)
    read = sum(new * prompt + new * (new - 1) // 2 for prompt, new in lengths)
    return int(read * cache_elements_per_token(model.config) * model.dtype.itemsize)


@cache
def copy_bandwidth(size: int, device: str) -> float:
    """Bytes per second of the device's memory, read and written, in the fastest of several copies."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * size / min(synchronized_seconds(lambda: target.copy_(source), device) for _ in range(_COPIES))
