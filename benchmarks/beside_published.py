"""Optimizer steps of the published code of arXiv:2410.08109 beside those of `recipe=published`, in float64 on a CPU.

    git clone https://github.com/sail-sg/closer-look-LLM-unlearning   # at b622294
    python benchmarks/beside_published.py closer-look-LLM-unlearning --methods me+gd,npo+kl

Their modules run unchanged: `TextForgetDatasetQA` draws partners and refusals and tokenizes, its collator makes
micro-batches of 4, `get_loss` computes. Only what surrounds them is rewritten here: the order that transformers 4.43
and accelerate 0.34 give to the items, a step of 8 micro-batches, AdamW and its schedule. The cross-entropy of
transformers is computed in float64 instead of float32. efface gets the same folder of data and its preset.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.data import load_task
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.run.preparation.prepare import training_steps
from efface.text.formatter import PromptFormatter
from efface.train.batches.schedule import make_schedule
from efface.train.loop import Trainer
from efface.train.optimizer.optimizer import decay_groups

_ROWS, _STEP = 4, 32
"""Rows of a micro-batch and of a step: 4 rows, 2 processes, 4 accumulated."""
_TRAINER_SEED = 42


def make_model(data: Path, folder: Path, vocabulary: int) -> None:
    """Write a random Llama of two layers, with a byte-level tokenizer made of TOFU's text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rows = [json.loads(line) for line in (data / "tofu" / "forget10.json").open(encoding="utf-8")]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([f"{row['question']} {row['answer']}" for row in rows], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1,
        num_key_value_heads=1, bos_token_id=0, eos_token_id=1, pad_token_id=1, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def load(folder: Path) -> Any:
    """The model in float64, with a cross-entropy that stays in float64."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)

    def loss(logits: Any, labels: Any, **_: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    model.loss_function = loss
    return model


def flat(model: Any) -> torch.Tensor:
    """All weights, in the order of their names."""
    return torch.cat([weight.detach().flatten() for _, weight in sorted(model.named_parameters())])


def trim(part: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """Leave out the columns that are padding in every row, where no loss reads them: this is exact, and faster."""
    ids, labels, mask = part
    columns = int(((labels != -100) | (mask != 0)).any(0).nonzero().max()) + 1
    return tuple(each[:, :columns] for each in (ids, labels, mask))


def published_modules(checkout: Path) -> tuple[Any, Any]:
    """`dataset/data_module.py` and `trainer/losses.py`; they read `config/` and `data/` of the working directory."""
    os.chdir(checkout)
    sys.path.insert(0, str(checkout))
    from dataset import data_module

    spec = importlib.util.spec_from_file_location("published_losses", "trainer/losses.py")
    assert spec is not None
    assert spec.loader is not None
    losses = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(losses)
    return data_module, losses


def train_published(
    modules: tuple[Any, Any], config: RunConfig, folder: Path, data: Path, steps: int
) -> tuple[Any, list[tuple[float, float]]]:
    """Their steps, and the two losses of each."""
    from accelerate.data_loader import SeedableRandomSampler

    data_module, losses = modules
    forget, retain = _rows(config, data)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    family, length = ("llama2-7b", 500) if config.data.source == "tofu" else ("llama3-8b", 300)
    masked = not config.method.startswith("me")
    items = data_module.TextForgetDatasetQA(tokenizer, family, forget, retain, max_length=length, mask=masked)
    model, reference = load(folder).train(), load(folder).eval()
    optimizer = torch.optim.AdamW(decay_groups(model, config.train.weight_decay), lr=config.train.lr)
    schedule = make_schedule(len(forget), config.train)
    scheduler = get_linear_schedule_with_warmup(optimizer, schedule.warmup_steps, schedule.steps)
    torch.manual_seed(_TRAINER_SEED)
    sampler = SeedableRandomSampler(forget, generator=torch.Generator())
    order = [index for _ in range(config.train.epochs) for index in sampler]
    reads_padding = {0: "me", 1: "kl"}  # the views forget and retain
    whole = [view for view, name in reads_padding.items() if name in config.method.replace("llmu", "kl")]
    history = []
    for step in range(steps):
        optimizer.zero_grad()
        totals = [0.0, 0.0]
        for start in range(step * _STEP, (step + 1) * _STEP, _ROWS):
            batch = data_module.custom_data_collator_forget([items[index] for index in order[start : start + _ROWS]])
            batch = [part if view in whole else trim(part) for view, part in enumerate(batch)]
            sides = losses.get_loss(model, reference, batch, config.method.upper(), config.beta)
            loss = config.forget_coeff * sides[0] + config.retain_coeff * sides[1]
            (loss * _ROWS / _STEP).backward()
            totals = [
                total + float(torch.as_tensor(side).detach()) * _ROWS / _STEP
                for total, side in zip(totals, sides, strict=True)
            ]
        history.append((totals[0], totals[1]))
        optimizer.step()
        scheduler.step()
    return model, history


def _rows(config: RunConfig, data: Path) -> tuple[list[Any], list[Any]]:
    """Forget and retain rows of task 1, in the order of `get_task_data` in their forget.py."""

    def read(name: str) -> list[Any]:
        return [json.loads(line) for line in (data / f"{name}.json").open(encoding="utf-8")]

    if config.data.source == "real-world":
        return read("real_world/forget"), read("real_world/neighbor")
    split = str(config.data.split)
    rows = read(f"tofu/{split}")
    never = f"tofu/retain{100 - min(10 * int(split.removeprefix('forget')), 90)}"
    others = [row for row in rows if int(row["task_id"]) != 1]
    return [row for row in rows if int(row["task_id"]) == 1], [*read(never), *others]


def train_ours(config: RunConfig, folder: Path, data: Path, steps: int) -> tuple[Any, list[tuple[float, float]]]:
    """The first steps of `efface run ... recipe=published`."""
    bound = objective(config.method, config)
    task = load_task(config.data, data_dir=data)
    formatter = PromptFormatter(AutoTokenizer.from_pretrained(folder), config.text)
    examples = training_steps(task, bound, config, formatter)[:steps]
    needed = [example[view] for step in examples for example in step for view in bound.sequence_reference_views]
    sequences = CachedLogprobs.compute(load(folder), needed, max_tokens_per_forward=8000) if needed else None
    reference = Reference(sequences, LiveReference(load(folder)) if bound.needs_distribution else None)
    with tempfile.TemporaryDirectory() as out:
        model = load(folder)
        train = config.train.model_copy(update={"max_tokens_per_forward": 8000, "precision": "float32"})
        schedule = make_schedule(len(task.forget), config.train)
        trainer = Trainer(model, bound, train, schedule, seed=config.seed, folder=Path(out))
        history: list[tuple[float, float]] = []
        trainer.run(examples, reference, on_step=lambda log: history.append((log.forget, log.retain)))
    return model, history


def main() -> None:
    """Print, for each method, how far the two trainings are apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--methods", default="me+gd,idk+ap")
    parser.add_argument("--preset", default="tofu-forget05")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-3, help="far above the preset's, so that weights move")
    parser.add_argument("--vocabulary", type=int, default=512)
    arguments = parser.parse_args()
    checkout = arguments.checkout.absolute()
    modules = published_modules(checkout)
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name), checkout / "data"
        make_model(data, folder, arguments.vocabulary)
        start = flat(load(folder))
        print("method   |w-w'|/|w-w0|  loss difference  |w-w0|")
        for method in arguments.methods.split(","):
            pairs = ["recipe=published", "model=m", f"method={method}", f"train.lr={arguments.lr}"]
            config = resolve_config(RunConfig, arguments.preset, pairs)
            theirs, their_losses = train_published(modules, config, folder, data, arguments.steps)
            ours, our_losses = train_ours(config, folder, data, arguments.steps)
            moved = float((flat(theirs) - start).norm())
            apart = float((flat(ours) - flat(theirs)).norm()) / moved
            worst = max(
                abs(mine - other) / max(abs(other), 1e-9)
                for step, published in zip(our_losses, their_losses, strict=True)
                for mine, other in zip(step, published, strict=True)
            )
            print(f"{method:8} {apart:.1e}        {worst:.1e}          {moved:.3f}", flush=True)


if __name__ == "__main__":
    main()
