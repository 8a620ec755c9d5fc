"""Memory of each of several processes: what the shards of real models take; the tables in docs/processes.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig

from efface.models.memory_estimate import estimate_training_memory
from efface.preflight.processes import memory_by_rank
from efface.train.config import LoRAConfig, TrainConfig
from support.model_configs import MODEL_CONFIGS

ADAMW = TrainConfig(optimizer="adamw")
LORA = TrainConfig(optimizer="adamw", lora=LoRAConfig())
ZERO3 = TrainConfig(optimizer="adamw", sharding="zero3")
PAGE = Path(__file__).parents[2] / "docs" / "processes.md"

SIZES = {
    "1B": (2048, 16, 32, 8, 8192, 128256, True),
    "8B": (4096, 32, 32, 8, 14336, 128256, False),
    "13B": (5120, 40, 40, 40, 13824, 32000, False),
    "32B": (5120, 64, 40, 8, 27648, 152064, False),
    "70B": (8192, 80, 64, 8, 28672, 128256, False),
}
"""Sizes of Llama 3.2 1B, Llama 3.1 8B, Llama 2 13B, Qwen 2.5 32B (without biases) and Llama 3.1 70B."""


def by_rank(config, train=ADAMW, *, count, device_type="cpu", dtype=torch.float32):
    return memory_by_rank(config, train, world_size=count, device_type=device_type, evaluated_in=dtype)


def config_of(hidden, layers, heads, key_heads, intermediate, vocabulary, tied):
    return LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        intermediate_size=intermediate,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
    )


@pytest.mark.parametrize(
    "train", [ADAMW, TrainConfig(optimizer="adamw", lora=LoRAConfig(r=4))], ids=["all", "adapters"]
)
@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_shards_add_up_to_the_whole_model(name, train):
    whole = estimate_training_memory(MODEL_CONFIGS[name], train, "cpu")
    replicated, *sharded = by_rank(MODEL_CONFIGS[name], train, count=3)
    assert (replicated.weights, replicated.gradients) == (whole.weights, whole.gradients)
    assert replicated.ranks == (0, 2)
    count = [last - first + 1 for first, last in (each.ranks for each in sharded)]
    assert sum(count) == 3
    for field in ("weights", "gradients"):
        assert sum(n * getattr(each, field) for n, each in zip(count, sharded, strict=True)) == getattr(whole, field)


def test_one_process_has_no_shards():
    [alone] = by_rank(MODEL_CONFIGS["wide"], count=1)
    assert (alone.engine, alone.ranks) == ("one process", (0, 0))


def test_what_cannot_be_sharded_has_no_shards():
    quantized = TrainConfig(optimizer="adamw", lora=LoRAConfig(bits=4))
    [replicated] = by_rank(MODEL_CONFIGS["wide"], quantized, count=2)
    assert replicated.engine == "DDP"


def test_with_zero3_the_optimizer_is_on_the_cpu():
    _, *sharded = by_rank(MODEL_CONFIGS["wide"], ZERO3, count=3, device_type="cuda")
    [zero3] = {each.model_copy(update={"ranks": (0, 2), "evaluation": 0}) for each in sharded}  # in training, all equal
    whole = estimate_training_memory(MODEL_CONFIGS["wide"], ZERO3, "cuda")
    assert (zero3.engine, zero3.gradients, zero3.optimizer) == ("ZeRO-3", 0, 0)
    assert zero3.weights == pytest.approx(2 * whole.parameters / 3, rel=0.01)  # bf16
    assert zero3.on_cpu == pytest.approx(20 * whole.parameters / 3, rel=0.01)
    assert zero3.training == zero3.weights + zero3.unsharded


def test_8bit_moments_are_sharded_in_whole_rows():
    wide = config_of(512, 2, 4, 4, 1024, 1000, True)
    _, sharded = by_rank(wide, TrainConfig(optimizer="adamw8bit"), count=2)
    _, plain = by_rank(wide, count=2)
    assert sharded.weights == plain.weights // 2  # bf16
    assert sharded.optimizer == pytest.approx(plain.optimizer / 4, rel=0.03)
    _, narrow = by_rank(config_of(576, 2, 4, 4, 1000, 1000, True), TrainConfig(optimizer="adamw8bit"), count=2)
    assert narrow.optimizer == pytest.approx(2 * narrow.weights, rel=0.01)  # its rows are no multiple of 256


def test_unsharded_parts_are_two_layers_and_what_is_outside_of_them():
    config = config_of(16, 3, 2, 2, 24, 61, True)
    layer, others = 4 * 16 * 16 + 3 * 16 * 24 + 2 * 16, 61 * 16 + 16
    _, *sharded = by_rank(config, count=2)
    assert {each.unsharded for each in sharded} == {4 * (2 * layer + others + layer + others)}
    _, first, *_ = by_rank(config, count=2, dtype=torch.bfloat16)
    assert first.evaluation == 2 * ((3 * layer) // 2 + 31 * 16 + 8 + 2 * layer + others)


def on_cards(sizes, train=ADAMW, *, count):
    return by_rank(config_of(*sizes), train, count=count, device_type="cuda", dtype=torch.bfloat16)


def gib(count):
    return f"{count / 2**30:.{0 if count >= 2**29 else 1}f}"


def row(name):
    """A line of the first table in docs/processes.md."""
    sizes = SIZES[name]
    [alone], adapters = on_cards(sizes, count=1), on_cards(sizes, LORA, count=8)
    [in_8_bits] = on_cards(sizes, TrainConfig(optimizer="adamw8bit"), count=1)
    sharded = {count: on_cards(sizes, count=count)[1] for count in (2, 8, 16, 64)}
    training = [alone, in_8_bits, *sharded.values(), *adapters[:2]]
    cells = [gib(each.training) for each in training] + [gib(alone.evaluation), gib(sharded[8].evaluation)]
    return f"| {name} | {' | '.join(cells)} |"


def zero3_row(name):
    """A line of the table on ZeRO-3."""
    cells = []
    for count in (2, 8, 16, 64):
        _, alike = on_cards(SIZES[name], ZERO3, count=count)  # all ranks
        cells += [gib(alike.training), gib(alike.on_cpu)]
    return f"| {name} | {' | '.join(cells)} |"


def assert_in_table(line, header):
    """The line is below this header on the page, not anywhere."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(header)
    assert found, header
    assert line in rest.partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("name", ["1B", pytest.param("8B", marks=pytest.mark.slow)])  # larger ones take longer
def test_the_table_of_the_page(name):
    assert_in_table(row(name), "| model | 1 GPU |")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "1B")) for name in SIZES])
def test_the_table_of_the_page_on_zero3(name):
    assert_in_table(zero3_row(name), "| model | on 2: GPU |")
