"""What each of two processes does in `tests/models/test_load_parallel.py`: runs of a model in shards, and its answers.

The folder gets the runs and, from the main process, the answers.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import torch

from efface import distributed
from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.generate import generate
from efface.models.load_parallel import load_to_evaluate
from efface.models.tokenizer import load_tokenizer
from efface.packing.layers import decoder_layers
from efface.packing.logprobs import answer_logprobs
from efface.run.pipeline import unlearn
from efface.schema import Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from efface.train.distribution.parallel import ParallelModel

MODEL = Path(__file__).parents[1] / "golden" / "model"
CPU = torch.device("cpu")
RUNS: dict[str, dict[str, Any]] = {
    "adapters": {"method": "dpo+kl", "train": {"lora": {"r": 2, "dropout": 0}}},
    "live-adapters": {"method": "ga+kl", "train": {"lora": {"r": 2, "dropout": 0}, "kl_reference": "live"}},
    "live": {"method": "ga+kl", "train": {"kl_reference": "live"}},
}
"""Settings that differ from those of `config`: KL compares with stored states, the model in training, a second one."""


def config(name: str, model: Path = MODEL) -> RunConfig:
    """The settings of one of `RUNS`."""
    own = RUNS[name]
    settings = {
        "data": {"source": "synthetic-authors", "authors": 4, "forget_authors": 1},
        "model": str(model),
        "device": "cpu",
        "text": {"format": "plain"},
        **own,
        "train": {"epochs": 1, "batch_size": 10, "lr": 1e-3, "sharding": "fsdp2", **own["train"]},
    }
    return validate_config(RunConfig, settings)


def answers(parallel_model: ParallelModel, model: Path = MODEL) -> dict[str, Any]:
    """Outputs for five questions, each in a batch of its own, and the log-probabilities of answers to them."""
    formatter = PromptFormatter(load_tokenizer(model), TextConfig(format="plain"))
    questions = ["Who?", "Who wrote it?", "Where was the author born, and when?", "A", "What is the name of the book?"]
    sequences = formatter.encode([(each, Prompt(each), "Ann Lee wrote it.") for each in questions])

    def answer(model: Any) -> dict[str, Any]:
        prompts = [Prompt(each) for each in questions]
        outputs = generate(model, formatter, prompts, max_new_tokens=6, max_cache_tokens=1)
        logprobs = answer_logprobs(model, sequences, max_tokens_per_forward=30)
        return {"outputs": [each.text for each in outputs], "logprobs": logprobs}

    return parallel_model.forward_in_step(answer)


def kept_buffers(model: Any) -> int:
    """After a forward pass: how many tensors hold all weights of a layer as they were gathered, beside the weights."""
    sizes = {sum(weight.numel() for weight in layer.parameters()) for layer in decoder_layers(model)}
    with torch.no_grad():
        model.base_model(input_ids=torch.tensor([[1, 2]]), use_cache=False)
    gc.collect()  # what waits for the collector is not kept
    tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor and each.shape.numel() in sizes]
    return sum(each.dim() == 1 and each.untyped_storage().nbytes() > 0 for each in tensors)


def work(folder: Path) -> None:
    """What a process does after it was started."""
    torch.set_num_threads(1)
    distributed.init_process_group("cpu")
    sharded = load_to_evaluate(MODEL, EvaluateConfig(sharding="fsdp2"), dtype=torch.float32, device=CPU)
    rows = max(each.to_local().shape[0] / each.shape[0] for each in sharded.model.parameters())
    found = answers(sharded) | {"largest_share": rows, "kept_buffers": sharded.forward_no_grad(kept_buffers)}
    if distributed.is_main_process():
        (folder / "answers.json").write_text(json.dumps(found), encoding="utf-8")
    for name in RUNS:
        unlearn(config(name), folder / name)
