"""Forecast what a run needs, from the model's config.json and the lengths of its sequences. No weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from efface.config.commands import RunConfig
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.decoding.kv_cache import cache_elements_per_token, max_cache_tokens_for
from efface.evaluation.generate import length_batches
from efface.models.dtypes import evaluation_dtype_of, stored_dtype_of
from efface.models.memory_estimate import TrainingMemory, count_training_memory, meta_model
from efface.objectives.terms import DistributionTerm, Objective, StateTerm, count_loss_tokens
from efface.packing.forward import chunk_rows, unwrap_peft, vocabulary_size
from efface.packing.layers import LayerPositions, check_layers
from efface.preflight.diagnosis import Forecast
from efface.preflight.training_plan import checkpoints_at_once
from efface.preflight.workload import Workload, total_tokens
from efface.reference.hidden_states import position_count
from efface.run.metadata.manifest import precision
from efface.train.batches.lazy_steps import STEPS_PER_BLOCK
from efface.train.batches.memory_use import activation_bytes, values_per_layer
from efface.train.batches.micro_batches import TrainingExample, count_packed_tokens, split_by_tokens
from efface.train.batches.schedule import count_earlier_epochs
from efface.train.batches.token_budget import TokenBudget, token_budget_within
from efface.train.optimizer.optimizer import weights_dtype
from efface.train.precision import Computation, computation

_FLOAT = 4
"""Bytes of a number in float32."""
_HALF = 2
"""Bytes of a number in bf16."""


def forecast(
    model_config: Any, config: RunConfig, workload: Workload, objective: Objective, *, device: torch.device, free: int
) -> Forecast:
    """What a run needs of memory and disk.

    Weights, gradients and optimizer state are exact; activations are those of a dense decoder (see `activation_bytes`).
    Only tensors are counted: a process holds more, because freed memory is not always given back.

    Args:
        model_config: The model's config.json.
        config: The run's settings, with a resolved `train.optimizer` (`efface.models.auto_optimizer`).
        workload: The sequences that go through the model.
        objective: The method's terms.
        device: Where the run computes.
        free: Free memory of the device, in bytes.

    Returns:
        The forecast.

    Raises:
        EffaceError: Where the config.json is not that of a causal language model, or of one with fewer layers than the
            method reads.
    """
    train = config.train
    dtype, how = weights_dtype(train, device.type), computation(train, device.type)
    model = meta_model(model_config, train.lora, dtype=dtype, parameters=train.parameters)
    check_layers(model, objective.layers)
    state = count_training_memory(model, train, device.type)
    allowed = free if train.memory_bytes is None else min(free, train.memory_bytes)
    budget = token_budget_within(allowed - state.total, model_config, train, device.type)
    parts = _fitted_parts(workload, budget)
    quantized = train.lora is not None and train.lora.bits is not None
    stored = stored_dtype_of(model_config).itemsize
    snapshots = count_earlier_epochs(workload.plan, train) if config.scores_epochs else 0
    evaluated = evaluation_dtype_of(model_config, device, config.evaluate.precision).itemsize
    evaluate = _with_max_cache_tokens(config.evaluate, model_config, device, free=free - state.parameters * evaluated)
    return Forecast(
        precision=precision(train, device),
        parameters=state.parameters,
        trained=state.trained,
        weights=state.weights,
        gradients=state.gradients,
        optimizer=state.optimizer,
        copies=state.copies,
        reference=_reference_bytes(model, state, config, how) if objective.needs_distribution else 0,
        tokens=max(count_packed_tokens(part, shared=True) for part in parts),
        checkpointing=budget.checkpointing,
        activations_per_token=activation_bytes(model_config, train, device.type, checkpointing=budget.checkpointing),
        logits=max(_logit_bytes(objective, part, vocabulary_size(model)) for part in parts),
        evaluated_weights=state.parameters * evaluated,
        cache=_cache_elements(model_config, workload.prompts, evaluate) * evaluated,
        evaluation_work=_evaluation_work(model_config, workload, evaluate, evaluated, vocabulary_size(model)),
        loading=state.parameters * dtype.itemsize if device.type == "cuda" and not quantized else 0,
        checkpoint=state.gradients + state.optimizer,
        checkpoints=checkpoints_at_once(workload.plan, train),
        saved=state.parameters * stored,
        epochs=snapshots * state.trained * (stored if train.lora is None else _FLOAT),
        states=0 if uses_live_reference(config) else _hidden_state_bytes(objective, workload, model, dtype, how),
    )


def _fitted_parts(workload: Workload, budget: TokenBudget) -> list[Sequence[TrainingExample]]:
    """The examples of each forward pass of the training, once `budget` was fitted to them."""
    largest = max(total_tokens([example]) for step in workload.steps for example in step)
    budget.fit(largest, max(count_packed_tokens(step, shared=True) for step in workload.steps[:STEPS_PER_BLOCK]))
    return [
        step[part.start : part.stop]
        for step in workload.steps
        for part in split_by_tokens(step, budget.tokens, shared=True)
    ]


def uses_live_reference(config: RunConfig) -> bool:
    """Whether KL computes a model's distributions in every step, rather than from cached hidden states.

    Args:
        config: The run's settings. `kl_reference=auto` is resolved as if the disk had space for hidden states.

    Returns:
        True for a live model, or for the trained model with its adapters switched off.
    """
    return config.train.kl_reference == "live"


def _reference_bytes(model: Any, state: TrainingMemory, config: RunConfig, how: Computation) -> int:
    """What the reference of KL adds to the model in training: a second model, or a copy of an output head that changes.

    The trained model with its adapters switched off adds nothing.
    """
    train = config.train
    if uses_live_reference(config):
        if train.lora is None:
            return state.parameters * _HALF if how == "bf16" else state.weights
        return (
            0 if config.reference is None else state.weights - state.gradients
        )  # gradients are as large as the adapters
    head = unwrap_peft(model).get_output_embeddings().weight
    unchanged = train.lora is not None and config.reference is None
    itemsize = head.element_size() if how == "float32" else _HALF
    return 0 if unchanged and itemsize == head.element_size() else int(head.numel()) * itemsize


def _hidden_state_bytes(
    objective: Objective, workload: Workload, model: Any, dtype: torch.dtype, how: Computation
) -> int:
    """On disk: the hidden state at each position that a loss compares, once for each distinct sequence."""
    last = dtype.itemsize if how == "float32" else _HALF
    inside = _HALF if how == "bf16" else dtype.itemsize
    bytes_read: dict[tuple[str, bool], int] = {}
    for step in workload.steps:
        for example in step:
            for view, positions in objective.distribution_reference_views:
                key = example[view].key, isinstance(positions, LayerPositions)
                size = position_count(example[view], positions) * (inside if key[1] else last)
                bytes_read[key] = max(size, bytes_read.get(key, 0))
    return sum(bytes_read.values()) * _hidden_size(model)


def _hidden_size(model: Any) -> int:
    return int(unwrap_peft(model).get_output_embeddings().weight.shape[1])


def _logit_bytes(objective: Objective, examples: Sequence[TrainingExample], vocabulary: int) -> int:
    """Logits of one forward: what every loss keeps for its backward pass, and the most that one of them computes there.

    Counted for the losses in `efface.objectives`: log-probabilities of targets keep one matrix, losses over whole
    distributions three, or four with a reference; the backward pass computes two more. What is computed in chunks keeps
    nothing, and is computed again chunk by chunk.
    """
    chunk = chunk_rows(vocabulary)
    kept, largest = 0, 0
    for term in objective.terms:
        if isinstance(term, StateTerm):
            continue  # it needs no logits
        copies = 3 + term.reference if isinstance(term, DistributionTerm) else 1
        for view in term.views[:1] if isinstance(term, DistributionTerm) else term.views:
            sequences = [example[view] for example in examples]
            rows = sum(
                count_loss_tokens(term, each) if isinstance(term, DistributionTerm) else len(each.answer)
                for each in sequences
            )
            kept += copies * rows if rows <= chunk else 0
            largest = max(largest, 2 * rows if rows <= chunk else (copies + 2) * chunk)
    return (kept + largest) * vocabulary * _FLOAT


def _with_max_cache_tokens(
    evaluate: EvaluateConfig, model_config: Any, device: torch.device, *, free: int
) -> EvaluateConfig:
    """`evaluate` with the cache size that generation will use where `free` bytes are left next to the model."""
    dtype = evaluation_dtype_of(model_config, device, evaluate.precision)
    tokens = max_cache_tokens_for(
        evaluate.max_cache_tokens, model_config, dtype=dtype, device_type=device.type, free=free
    )
    return evaluate.model_copy(update={"max_cache_tokens": tokens})


def _cache_elements(model_config: Any, prompts: Sequence[int], evaluate: EvaluateConfig) -> int:
    """Numbers in the KV cache of the largest batch; the states of recurrent layers are negligible."""
    return cache_elements_per_token(model_config) * _largest_batch(prompts, evaluate, evaluate.max_new_tokens)


def _evaluation_work(
    model_config: Any, workload: Workload, evaluate: EvaluateConfig, itemsize: int, vocabulary: int
) -> int:
    """Bytes that one layer and the output head compute in the largest forward of an evaluation."""
    likelihoods = max(min(sum(workload.answers), evaluate.max_tokens_per_forward), max(workload.answers, default=0))
    tokens = max(likelihoods, _largest_batch(workload.prompts, evaluate, 0))
    logits = 2 * min(likelihoods, chunk_rows(vocabulary)) * vocabulary * _FLOAT
    return tokens * values_per_layer(model_config) * itemsize + logits


def _largest_batch(prompts: Sequence[int], evaluate: EvaluateConfig, new_tokens: int) -> int:
    """Tokens of the largest batch of generation: its prompts, and `new_tokens` of each output."""
    assert evaluate.max_cache_tokens is not None  # see `_with_max_cache_tokens`
    batches = length_batches(prompts, evaluate.max_new_tokens, evaluate.max_cache_tokens, padded=True)
    return max((len(rows) * (prompts[rows[0]] + new_tokens) for rows in batches), default=0)
