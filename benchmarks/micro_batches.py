#!/usr/bin/env python3
"""How many forward passes an optimizer step is cut into on a GPU of a given size; counted from shapes, without a GPU.

python benchmarks/micro_batches.py                          # Llama-2-7B: all weights on 79 GiB, LoRA on 23.5 GiB
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from efface.models.memory_estimate import count_training_memory, meta_model
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.train.batches.micro_batches import count_packed_tokens, count_tokens, split_by_tokens
from efface.train.batches.token_budget import token_budget_within
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer.optimizer import weights_dtype
from shapes import SHAPES
from workload import load_workload

METHODS = ("idk+ap", "dpo+kl", "npo+gd", "me+gd", "ga+kl")
SETTINGS = (
    ("all weights, 8-bit AdamW, 79 GiB", 79.0, TrainConfig(optimizer="adamw8bit")),
    ("LoRA, 23.5 GiB", 23.5, TrainConfig(lora=LoRAConfig())),
)


def main() -> int:
    """Print a line for each setting and method."""
    from transformers import LlamaConfig

    shape = LlamaConfig(**asdict(SHAPES["7b"]))
    for name, gib, config in SETTINGS:
        model = meta_model(shape, config.lora, dtype=weights_dtype(config, "cuda"))
        free = int(gib * 2**30) - count_training_memory(model, config, "cuda").total
        for method in METHODS:
            examples = load_workload(objective(method, ObjectiveConfig()).views, items=32, tokenizer=None).examples
            budget = token_budget_within(free, shape, config, "cuda")
            packed = count_packed_tokens(examples, shared=True)
            budget.fit(max(map(count_tokens, examples)), packed)
            passes = len(list(split_by_tokens(examples, budget.tokens, shared=True)))
            recomputed = ", layers recomputed" if budget.checkpointing else ""
            print(
                f"{name}, {method}: {sum(map(count_tokens, examples)):,} tokens, {packed:,} packed, "
                f"{budget.tokens:,} at once: {passes} passes{recomputed}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
