"""What a run needs, from the model's shapes alone: no weight is read, so that a large model is soon judged."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.generate import batches
from efface.objectives.terms import DistributionTerm, Objective, counted
from efface.report.diagnosis import Forecast
from efface.run.adapters import with_adapters
from efface.run.config import RunConfig
from efface.run.workload import Workload, tokens_of
from efface.text.forward import chunk_rows, unwrapped, vocabulary_size
from efface.train.checkpoint import first_line
from efface.train.config import LoRAConfig
from efface.train.memory import activation_bytes, layer_values, tokens_within
from efface.train.plan import earlier_epochs
from efface.train.step import Example, micro_batches

_FLOAT = 4
"""Bytes; what is trained is in float32."""
_BLOCK_OF_4_BITS = 64
"""Weights that share a scale in NF4."""
_TABLE_OF_4_BITS = 16 * _FLOAT
"""The numbers that 4 bits stand for, kept beside each matrix."""


@dataclass(frozen=True)
class State:
    """What stays in memory from one step to the next, in bytes, and how many numbers it is of."""

    parameters: int
    """Of the model without adapters."""
    trained: int
    weights: int
    """Adapters included."""
    gradients: int
    optimizer: int
    """Two moments of each trained number, and a step counter a tensor."""


def skeleton(settings: Any, lora: LoRAConfig | None) -> Any:
    """The model of a config.json, inside PEFT if `lora`, without any numbers: on torch's meta device.

    Raises `EffaceError` for settings of anything else than a causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        own = deepcopy(settings)  # transformers writes the dtype into what it is given
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(own, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # transformers and the model's own code each raise their own
        raise EffaceError(f"its config.json makes no causal language model: {first_line(error)}") from error
    with torch.device("meta"):
        return model if lora is None else with_adapters(model, lora, seed=0)


def state_of(model: Any, lora: LoRAConfig | None) -> State:
    """Count a `skeleton` that was made with the same `lora`."""
    rounded = _rounded_bytes(model, lora.bits) if lora and lora.bits else {}
    named = dict(model.named_parameters())
    trained = [parameter.numel() for parameter in named.values() if parameter.requires_grad]
    adapters = sum(trained) if lora else 0
    return State(
        parameters=sum(parameter.numel() for parameter in named.values()) - adapters,
        trained=sum(trained),
        weights=sum(rounded.get(id(each), each.numel() * _FLOAT) for each in named.values()),
        gradients=sum(trained) * _FLOAT,
        optimizer=(2 * sum(trained) + len(trained)) * _FLOAT,
    )


def forecast(
    settings: Any, config: RunConfig, work: Workload, bound: Objective, *, device: torch.device, free: int
) -> Forecast:
    """What the run needs on `device`, of which `free` bytes are free now; `settings`: the model's config.json.

    Weights, gradients and optimizer are exact; activations are those of a dense decoder (see `activation_bytes`).
    Tensors are counted: a process holds more, for memory that is freed is not always given back.
    """
    train = config.train
    model = skeleton(settings, train.lora)
    state = state_of(model, train.lora)
    per_token = activation_bytes(settings, train, device.type)
    budget = train.token_budget or tokens_within(free - state.weights, trained=state.trained, per_token=per_token)
    parts = [step[part.start : part.stop] for step in work.steps for part in micro_batches(step, budget)]
    whole = train.lora.bits is None if train.lora else True
    stored = _stored_bytes(settings)
    snapshots = earlier_epochs(work.plan, train) if config.evaluate.every else 0
    evaluated = stored if device.type == "cuda" else _FLOAT
    every = train.checkpoint_every or work.plan.per_epoch
    return Forecast(
        parameters=state.parameters,
        trained=state.trained,
        weights=state.weights,
        gradients=state.gradients,
        optimizer=state.optimizer,
        copies=2 * _multiplied(model) if whole and train.bf16_on(device.type) else 0,
        reference=_reference_bytes(state, config) if bound.needs_distribution else 0,
        tokens=max(map(tokens_of, parts)),
        activations_per_token=per_token,
        logits=max(_logit_bytes(bound, part, vocabulary_size(model)) for part in parts),
        evaluated_weights=state.parameters * evaluated,
        cache=_cache_bytes(settings, work.prompts, config.evaluate) * evaluated,
        evaluation_work=_evaluation_work(settings, work, config.evaluate, evaluated, vocabulary_size(model)),
        loading=state.parameters * _FLOAT if device.type == "cuda" and whole else 0,
        checkpoint=3 * state.trained * _FLOAT,
        checkpoints=min((work.plan.steps - 1) // every, 2),
        saved=state.parameters * stored,
        epochs=snapshots * state.trained * (stored if train.lora is None else _FLOAT),
    )


def _reference_bytes(state: State, config: RunConfig) -> int:
    """Of a model beside the trained one; where it is that without its adapters, there is none."""
    if config.train.lora is None:
        return state.weights
    return 0 if config.reference is None else state.weights - state.trained * _FLOAT


def _rounded_bytes(model: Any, bits: int) -> dict[int, int]:
    """Id of each weight that bitsandbytes rounds -> its bytes: those of linear layers but the head."""
    from transformers.pytorch_utils import Conv1D

    inner = unwrapped(model)
    head = inner.get_output_embeddings().weight
    return {
        id(module.weight): _rounded(module, bits)
        for module in inner.modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module.weight is not head
        and not module.weight.requires_grad  # as an adapter's
    }


def _rounded(module: Any, bits: int) -> int:
    count: int = module.weight.numel()
    if bits == 8:
        outputs: int = module.out_features if isinstance(module, torch.nn.Linear) else module.nf
        return count + outputs * _FLOAT  # a scale for each output
    return (count + 1) // 2 - (-count // _BLOCK_OF_4_BITS) * _FLOAT + _TABLE_OF_4_BITS


def _multiplied(model: Any) -> int:
    """Numbers in matrices that tokens are multiplied with, which autocast copies: all but the embeddings."""
    inner = unwrapped(model)
    lookup, head = inner.get_input_embeddings().weight, inner.get_output_embeddings().weight
    return sum(each.numel() for each in inner.parameters() if each.ndim >= 2 and (each is not lookup or each is head))


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
            rows = sum(counted(term, each) if isinstance(term, DistributionTerm) else len(each.answer) for each in read)
            kept += copies * rows if rows <= at_once else 0
            largest = max(largest, 2 * rows if rows <= at_once else (copies + 2) * at_once)
    return (kept + largest) * vocabulary * _FLOAT


def _cache_bytes(settings: Any, prompts: Sequence[int], evaluate: EvaluateConfig) -> int:
    """Keys and values of the largest batch of generation, in numbers; states instead of them hardly count."""
    shape = settings.get_text_config()
    queries = getattr(shape, "num_attention_heads", None)
    if not isinstance(queries, int):  # none, or a number for each layer
        return 0
    heads = getattr(shape, "num_key_value_heads", None) or queries
    width = getattr(shape, "head_dim", None) or shape.hidden_size // queries
    return 2 * int(shape.num_hidden_layers * heads * width) * _largest_batch(prompts, evaluate, evaluate.new_tokens)


def _evaluation_work(settings: Any, work: Workload, evaluate: EvaluateConfig, number: int, vocabulary: int) -> int:
    likelihoods = max(min(sum(work.answers), evaluate.token_budget), max(work.answers, default=0))
    tokens = max(likelihoods, _largest_batch(work.prompts, evaluate, 0))
    logits = 2 * min(likelihoods, chunk_rows(vocabulary)) * vocabulary * _FLOAT
    return tokens * layer_values(settings) * number + logits


def _largest_batch(prompts: Sequence[int], evaluate: EvaluateConfig, new_tokens: int) -> int:
    """Tokens of the largest batch of generation, with `new_tokens` of those it generates."""
    cut = batches(prompts, evaluate.new_tokens, evaluate.batch_tokens, padded=True)
    return max((len(rows) * (prompts[rows[0]] + new_tokens) for rows in cut), default=0)


def _stored_bytes(settings: Any) -> int:
    """Bytes of a number in the model as it came, and as it is saved."""
    return settings.dtype.itemsize if isinstance(settings.dtype, torch.dtype) else _FLOAT
