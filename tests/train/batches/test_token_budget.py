"""The token budget follows from the free memory and the model's shape; where memory is short, layers are recomputed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from efface.hardware import memory as free_memory
from efface.text.sequence import TokenizedSequence
from efface.train.batches import token_budget
from efface.train.batches.memory_use import autocast_copy_bytes, training_state_bytes
from efface.train.batches.micro_batches import split_by_tokens
from efface.train.batches.token_budget import (
    TokenBudget,
    smallest_forward_fits,
    token_budget_for,
    token_budget_within,
)
from efface.train.config import TrainConfig

GIB = 2**30
PER_TOKEN = 2 * (10 * 16 + 5 * 24) * 4
"""Layers x values x bytes of the tiny model."""
RECOMPUTED = (2 * 16 + 10 * 16 + 5 * 24) * 4
"""The inputs of all layers, and the values of one."""


@pytest.fixture
def host(monkeypatch, tmp_path):
    """Set the host's free memory; no container unless the test writes its files into the folder returned."""

    def free(size):
        monkeypatch.setattr(free_memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=size))

    monkeypatch.setattr(free_memory, "_CGROUP", tmp_path)
    free(8 * GIB)
    return SimpleNamespace(free=free, cgroup=tmp_path)


def tokens(model, config=None):
    return token_budget_for(model, config or TrainConfig()).tokens


def test_by_hand(host, tiny_llama):
    model = tiny_llama()
    weights, tensors = sum(p.numel() for p in model.parameters()), len(list(model.parameters()))
    assert tokens(model) == (8 * GIB - 12 * weights - 4 * tensors) // 2 // PER_TOKEN
    config = TrainConfig(gradient_checkpointing=True)
    assert tokens(model, config) == (8 * GIB - 12 * weights - 4 * tensors) // 2 // RECOMPUTED


def test_processes_of_one_machine_share_its_memory(host, tiny_llama, monkeypatch):
    model = tiny_llama()
    alone = tokens(model)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    host.free(32 * GIB)
    state = training_state_bytes(model, TrainConfig(), "cpu")
    assert tokens(model) == pytest.approx(alone, abs=1)
    assert tokens(model) == (8 * GIB - state) // 2 // PER_TOKEN


def test_half_precision_allows_twice_as_many_tokens(host, tiny_llama):
    model = tiny_llama()
    full = tokens(model)
    copies = autocast_copy_bytes(model)
    assert tokens(model, TrainConfig(precision="bf16")) == pytest.approx(2 * full - copies / PER_TOKEN, abs=2)


def test_weights_that_will_be_moved_to_a_gpu_count(host, tiny_llama, monkeypatch):
    model = tiny_llama()
    monkeypatch.setattr(token_budget, "free_memory", lambda device: 8 * GIB)
    monkeypatch.setattr(token_budget, "token_budget_within", lambda free, *_: free)
    on_cpu, on_gpu = (
        token_budget_for(model, TrainConfig(precision="bf16"), torch.device(name)) for name in ("cpu", "cuda")
    )
    assert on_cpu - on_gpu == sum(p.nbytes for p in model.parameters())


def test_shards_are_one_process_s_part(host, tiny_llama, monkeypatch):
    model, config = tiny_llama(), TrainConfig(sharding="fsdp2")
    alone = tokens(model, config)
    monkeypatch.setattr(token_budget.distributed, "world_size", lambda: 4)
    monkeypatch.setattr(token_budget.distributed, "all_gather", lambda free: [free, free - 2 * PER_TOKEN * 1000])
    saved = training_state_bytes(model, config, "cpu") * 3 / 4
    assert tokens(model, config) == pytest.approx(alone + saved / 2 / PER_TOKEN - 1000, abs=1)


def test_a_container_limit_counts(host, tiny_llama):
    model = tiny_llama()
    full = tokens(model)
    (host.cgroup / "memory.max").write_text("max\n")
    (host.cgroup / "memory.current").write_text("123\n")
    assert tokens(model) == full
    (host.cgroup / "memory.max").write_text(f"{3 * GIB}\n")
    (host.cgroup / "memory.current").write_text(f"{GIB}\n")
    assert tokens(model) == pytest.approx(full / 4, rel=1e-3)


def test_the_budget_has_a_minimum(host, tiny_llama):
    host.free(1000)
    assert tokens(tiny_llama()) == 512


def test_halving_starts_from_the_size_of_the_batch():
    """A budget far above the batch would otherwise be tried again and again with the same single micro-batch."""
    examples = equal_examples(8)
    budget = TokenBudget(1_000_000)
    found = []
    while budget.shrink(examples):
        found.append(len(list(split_by_tokens(examples, budget.tokens))))
    assert found == [2, 4, 8]
    assert not budget.checkpointing


def equal_examples(count):
    return [{"retain": TokenizedSequence(str(n), [1] * 5, [1] * 5)} for n in range(count)]


def test_an_example_that_does_not_fit_alone_is_recomputed():
    examples = equal_examples(2)
    budget = TokenBudget(20, estimate=10_000, checkpointing_tokens=30)
    tried = []
    while budget.shrink(examples):
        tried.append((budget.tokens, budget.checkpointing))
    assert tried == [(10, False), (30, True), (10, True)]
    assert not budget.shrink(examples)


@pytest.mark.parametrize(
    ("setting", "estimate", "largest", "on"),
    [
        ("auto", 600, 100, False),
        ("auto", 600, 600, False),
        ("auto", 600, 601, True),
        ("auto", 511, 100, True),  # so few that steps would take longer
        (False, 10, 1000, False),
        (True, 10_000, 100, True),
    ],
)
def test_layers_are_recomputed_where_an_example_would_not_fit(tiny_llama, setting, estimate, largest, on):
    shape = tiny_llama().config
    budget = token_budget_within(2 * estimate * PER_TOKEN, shape, TrainConfig(gradient_checkpointing=setting), "cpu")
    budget.fit(largest)
    assert budget.checkpointing is on
    assert budget.tokens == max(512, estimate * PER_TOKEN // RECOMPUTED if on else estimate)


def test_a_set_budget_stays_when_layers_are_recomputed(tiny_llama):
    config = TrainConfig(max_tokens_per_forward=700)
    budget = token_budget_within(2 * 600 * PER_TOKEN, tiny_llama().config, config, "cpu")
    budget.fit(650)
    assert (budget.tokens, budget.checkpointing) == (700, True)


def test_gradient_checkpointing_is_switched_on_in_the_model(tiny_llama):
    model = tiny_llama()
    budget = TokenBudget(10, estimate=0, checkpointing_tokens=20)
    budget.apply(model)
    assert not model.is_gradient_checkpointing
    budget.fit(0)
    for _ in range(2):
        budget.apply(model)
        assert model.is_gradient_checkpointing


def test_the_smallest_forward_that_fits(tiny_llama):
    shape = tiny_llama().config
    assert smallest_forward_fits(2 * 512 * RECOMPUTED, shape, TrainConfig(), "cpu")
    assert not smallest_forward_fits(2 * 512 * RECOMPUTED - 2, shape, TrainConfig(), "cpu")
    assert not smallest_forward_fits(2 * 512 * PER_TOKEN - 2, shape, TrainConfig(gradient_checkpointing=False), "cpu")


def test_state_dict():
    found = TokenBudget(640, estimate=0, checkpointing_tokens=900)
    found.fit(1)
    budget = TokenBudget(7)
    budget.load_state_dict(found.state_dict())
    assert (budget.tokens, budget.checkpointing) == (900, True)
    budget = TokenBudget(7)
    budget.load_state_dict({"tokens": 640})  # as an older version wrote it
    assert (budget.tokens, budget.checkpointing) == (640, False)


def test_files_cached_in_a_container_count_as_free(host):
    (host.cgroup / "memory.max").write_text(f"{3 * GIB}\n")
    (host.cgroup / "memory.current").write_text(f"{2 * GIB}\n")
    (host.cgroup / "memory.stat").write_text(f"anon 7\nactive_file 9\ninactive_file {GIB}\nworkingset 3\n")
    assert token_budget.free_memory(torch.device("cpu")) == 2 * GIB


# A GPU


def cuda_budget(shape, free, config=None):
    return token_budget_within(free, shape, config or TrainConfig(precision="float32"), "cuda")


def test_a_gpu_uses_85_percent_and_keeps_room_for_logits(tiny_llama):
    shape = tiny_llama().config
    logits = 5 * 256 * 2**20
    assert cuda_budget(shape, 8 * GIB).tokens == int(0.85 * 8 * GIB - logits) // PER_TOKEN
    assert cuda_budget(shape, GIB).tokens == 512
    assert smallest_forward_fits(int((512 * RECOMPUTED + logits) / 0.85) + 2, shape, TrainConfig(), "cuda")
    assert not smallest_forward_fits(logits, shape, TrainConfig(), "cuda")


@pytest.mark.parametrize(
    ("step", "on"),
    [
        (0, False),  # unknown
        (1000, False),  # one pass
        (1001, True),  # two passes that take as long as 3,000 tokens each, or 4/3 of one
        (4000, True),  # four or one, of 4000
    ],
)
def test_one_recomputed_pass_is_compared_with_several(step, on):
    budget = TokenBudget(1000, estimate=1000, checkpointing_tokens=4000, tokens_per_pass=3000)
    budget.fit(100, step)
    assert budget.checkpointing is on
    assert budget.tokens == (4000 if on else 1000)


def test_passes_that_keep_the_gpu_busy_are_cut_rather_than_recomputed():
    budget = TokenBudget(1000, estimate=1000, checkpointing_tokens=4000, tokens_per_pass=1000)
    budget.fit(100, 8000)
    assert not budget.checkpointing


def test_what_a_pass_costs_at_least(tiny_llama):
    """By hand for Llama-2-7B: 3.8 ms of host time per layer, of 202 M weights at 6 FLOP and 600 TFLOP/s."""
    seven_b = SimpleNamespace(hidden_size=4096, intermediate_size=11008)
    config = SimpleNamespace(get_text_config=lambda: seven_b)
    assert token_budget.tokens_per_pass(config) == pytest.approx(3.8e-3 * 6e14 / (6 * 202.4e6), rel=1e-3)


def test_the_steps_of_a_training_decide(tiny_llama, monkeypatch):
    found = []
    monkeypatch.setattr(TokenBudget, "fit", lambda self, largest, step: found.append((largest, step)))
    pair = [
        {"retain": TokenizedSequence("a", [1, 2, 3, 4], [5])},
        {"retain": TokenizedSequence("b", [1, 2, 3, 4], [6, 7])},
    ]
    budget = TokenBudget(10)
    budget.fit_steps(tiny_llama(), [pair, pair[:1]])
    monkeypatch.setattr(token_budget.distributed, "world_size", lambda: 2)
    budget.fit_steps(tiny_llama(), [pair])
    assert found == [(6, 7 + 4 // 4), (6, 4)]


def test_a_set_memory_is_the_most_that_is_used(host, tiny_llama):
    model = tiny_llama()
    full = tokens(model)
    assert tokens(model, TrainConfig(memory_gib=100)) == full
    weights, tensors = sum(p.numel() for p in model.parameters()), len(list(model.parameters()))
    assert tokens(model, TrainConfig(memory_gib=4)) == (4 * GIB - 16 * weights - 4 * tensors) // 2 // PER_TOKEN
    assert tokens(model, TrainConfig(memory_gib=1e-6)) == 512
