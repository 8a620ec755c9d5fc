"""What a run needs, from the model's shapes alone: no weight is read, so that a large model is soon judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from efface.config.commands import RunConfig
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.generate import length_batches
from efface.evaluation.kv_cache import cache_elements_per_token, max_cache_tokens_for
from efface.models.dtypes import evaluation_dtype_of
from efface.models.memory_estimate import TrainingMemory, count_training_memory, meta_model
from efface.objectives.terms import DistributionTerm, Objective, counted_tokens
from efface.packing.forward import chunk_rows, unwrap_peft, vocabulary_size
from efface.preflight.diagnosis import Forecast
from efface.preflight.workload import Workload, total_tokens
from efface.run.manifest import precision
from efface.train.optimizer import weights_dtype
from efface.train.sampler import earlier_epochs
from efface.train.step import Example, split_by_tokens
from efface.train.token_budget import activation_bytes, layer_values, token_budget_within

_FLOAT = 4
"""Bytes of a number in float32."""
_HALF = 2
"""In bf16."""


def forecast(
    settings: Any, config: RunConfig, work: Workload, bound: Objective, *, device: torch.device, free: int
) -> Forecast:
    """What the run needs on `device`, of which `free` bytes are free now; `settings`: the model's config.json.

    Weights, gradients and optimizer are exact; activations are those of a dense decoder (see `activation_bytes`).
    Tensors are counted: a process holds more, for memory that is freed is not always given back. The optimizer of
    `config` is settled (`efface.models.auto_optimizer`).
    """
    train = config.train
    dtype, half = weights_dtype(train, device.type), train.bf16_on(device.type)
    model = meta_model(settings, train.lora, dtype=dtype)
    state = count_training_memory(model, train, device.type)
    budget = token_budget_within(free - state.total, settings, train, device.type)
    budget.fit(max(total_tokens([example]) for step in work.steps for example in step))
    parts = [step[part.start : part.stop] for step in work.steps for part in split_by_tokens(step, budget.tokens)]
    whole = train.lora.bits is None if train.lora else True
    stored = _stored_bytes(settings)
    snapshots = earlier_epochs(work.plan, train) if config.evaluate.every else 0
    evaluated = evaluation_dtype_of(settings, device, config.evaluate.precision).itemsize
    evaluate = _with_max_cache_tokens(config.evaluate, settings, device, free=free - state.parameters * evaluated)
    every = train.save_steps or work.plan.per_epoch
    return Forecast(
        precision=precision(train, device),
        parameters=state.parameters,
        trained=state.trained,
        weights=state.weights,
        gradients=state.gradients,
        optimizer=state.optimizer,
        copies=state.copies,
        reference=_reference_bytes(model, state, config, half) if bound.needs_distribution else 0,
        tokens=max(map(total_tokens, parts)),
        checkpointing=budget.checkpointing,
        activations_per_token=activation_bytes(settings, train, device.type, checkpointing=budget.checkpointing),
        logits=max(_logit_bytes(bound, part, vocabulary_size(model)) for part in parts),
        evaluated_weights=state.parameters * evaluated,
        cache=_cache_bytes(settings, work.prompts, evaluate) * evaluated,
        evaluation_work=_evaluation_work(settings, work, evaluate, evaluated, vocabulary_size(model)),
        loading=state.parameters * dtype.itemsize if device.type == "cuda" and whole else 0,
        checkpoint=state.gradients + state.optimizer,
        checkpoints=min((work.plan.steps - 1) // every, 2),
        saved=state.parameters * stored,
        epochs=snapshots * state.trained * (stored if train.lora is None else _FLOAT),
        states=0
        if uses_live_reference(config)
        else _state_bytes(bound, work, _HALF if half else dtype.itemsize, _width(model)),
    )


def uses_live_reference(config: RunConfig) -> bool:
    """Whether KL asks a model at each step; the disk is taken to have room for states where it need not."""
    train = config.train
    switched_off = train.lora is not None and config.reference is None
    return train.kl_reference == "live" or (train.kl_reference == "auto" and switched_off)


def _reference_bytes(model: Any, state: TrainingMemory, config: RunConfig, half: bool) -> int:
    """Of what KL compares with beside the model in training: another model, or the copy of a head that changes.

    Where it is the same model without its adapters, there is none.
    """
    train = config.train
    if uses_live_reference(config):
        if train.lora is None:
            return state.weights
        return 0 if config.reference is None else state.weights - state.gradients  # which are as large as the adapters
    head = unwrap_peft(model).get_output_embeddings().weight
    stays = train.lora is not None and config.reference is None
    number = _HALF if half else head.element_size()
    return 0 if stays and number == head.element_size() else int(head.numel()) * number


def _state_bytes(bound: Objective, work: Workload, number: int, width: int) -> int:
    """On disk: a last hidden state for each token that KL reads, of each distinct sequence."""
    wanted: dict[str, int] = {}
    for step in work.steps:
        for example in step:
            for view, positions in bound.distribution_reads:
                item = example[view]
                count = len(item.answer) if positions == "answer" else len(item) - 1
                wanted[item.key] = max(count, wanted.get(item.key, 0))
    return sum(wanted.values()) * width * number


def _width(model: Any) -> int:
    """Numbers in a last hidden state."""
    return int(unwrap_peft(model).get_output_embeddings().weight.shape[1])


def _logit_bytes(bound: Objective, examples: Sequence[Example], vocabulary: int) -> int:
    """Logits of one forward: what each loss keeps for its backward pass, and what the largest of them makes there.

    Counted on the losses of `efface.objectives`: log-probabilities of targets keep one matrix, losses over whole
    distributions three, or four with a reference; in the backward pass come two more. What is read in chunks keeps
    nothing, and makes everything again, chunk by chunk.
    """
    at_once = chunk_rows(vocabulary)
    kept, largest = 0, 0
    for term in bound.terms:
        copies = 3 + term.reference if isinstance(term, DistributionTerm) else 1
        for view in term.views:
            read = [example[view] for example in examples]
            rows = sum(
                counted_tokens(term, each) if isinstance(term, DistributionTerm) else len(each.answer) for each in read
            )
            kept += copies * rows if rows <= at_once else 0
            largest = max(largest, 2 * rows if rows <= at_once else (copies + 2) * at_once)
    return (kept + largest) * vocabulary * _FLOAT


def _with_max_cache_tokens(
    evaluate: EvaluateConfig, settings: Any, device: torch.device, *, free: int
) -> EvaluateConfig:
    """`evaluate` with the number of tokens that generation will take where `free` bytes are left beside the model."""
    dtype = evaluation_dtype_of(settings, device, evaluate.precision)
    found = max_cache_tokens_for(evaluate.max_cache_tokens, settings, dtype=dtype, device_type=device.type, free=free)
    return evaluate.model_copy(update={"max_cache_tokens": found})


def _cache_bytes(settings: Any, prompts: Sequence[int], evaluate: EvaluateConfig) -> int:
    """Keys and values of the largest batch of generation, in numbers; states instead of them hardly count."""
    return cache_elements_per_token(settings) * _largest_batch(prompts, evaluate, evaluate.max_new_tokens)


def _evaluation_work(settings: Any, work: Workload, evaluate: EvaluateConfig, number: int, vocabulary: int) -> int:
    likelihoods = max(min(sum(work.answers), evaluate.max_tokens_per_forward), max(work.answers, default=0))
    tokens = max(likelihoods, _largest_batch(work.prompts, evaluate, 0))
    logits = 2 * min(likelihoods, chunk_rows(vocabulary)) * vocabulary * _FLOAT
    return tokens * layer_values(settings) * number + logits


def _largest_batch(prompts: Sequence[int], evaluate: EvaluateConfig, max_new_tokens: int) -> int:
    """Tokens of the largest batch of generation, with `max_new_tokens` of those it generates."""
    assert evaluate.max_cache_tokens is not None  # see `_with_max_cache_tokens`
    cut = length_batches(prompts, evaluate.max_new_tokens, evaluate.max_cache_tokens, padded=True)
    return max((len(rows) * (prompts[rows[0]] + max_new_tokens) for rows in cut), default=0)


def _stored_bytes(settings: Any) -> int:
    """Bytes of a number in the model as it came, and as it is saved."""
    return settings.dtype.itemsize if isinstance(settings.dtype, torch.dtype) else _FLOAT
