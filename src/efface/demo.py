"""`efface demo`: a small model learns invented authors, forgets some of them, and is asked again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from efface.artifacts import Record, Results
from efface.atomic import write_text
from efface.commands.finetune import finetune
from efface.config.presets import finetune_config, run_config
from efface.data import load_training_set
from efface.data.sources.refusals import load_refusals
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.folders import RunPaths
from efface.progress.console import ConsoleReporter
from efface.progress.quiet_libraries import quiet_libraries
from efface.report.terminal.answers import print_answers
from efface.report.terminal.results import print_results
from efface.run.pipeline import run
from efface.schema import Item

METHODS = ("me+gd", "idk+ap", "ga+gd", "idk+gd")
"""The paper's two recommendations, then two baselines to compare with."""
_MARK = ".efface-demo"
"""A file that says: what lies beside it was written by the demo."""
_VOCABULARY = 2048
_SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


@quiet_libraries()
def run_demo(out: Path, *, seed: int, settings: Sequence[str] = ()) -> dict[str, Results]:
    """Run the demo in the folder `out`: `base` (untrained), `target`, and one run folder for each method.

    `settings`: key=value pairs for the fine-tuning and all runs, such as `data.authors=4` for a smaller demo.

    Raises `EffaceError` where `out` holds something else than an earlier demo.
    """
    console = Console()
    start = time.perf_counter()
    _clear(out)
    shared = [f"seed={seed}", f"data.author_seed={seed}", *settings]
    config = finetune_config("demo", [f"model={out / 'base'}", *shared])
    write_base_model(out / "base", load_training_set(config.data, data_dir=None), seed=seed)
    results: dict[str, Results] = {}
    before: dict[str, list[Record]] | None = None
    with ConsoleReporter(console) as reporter:
        target = finetune(config, out / "target", reporter=reporter)
        for method in METHODS:
            chosen = run_config("demo", [f"model={target}", f"method={method}", *shared])
            results[method] = run(chosen, out / method, reporter=reporter, before=before)
            before = before or read_record_sets(RunPaths(out / method).records("before"))
    print_results(console, results)
    _print_answers(console, out)
    console.print(f"{time.perf_counter() - start:.0f} s; runs in {out}", highlight=False)
    return results


def write_base_model(folder: Path, items: tuple[Item, ...], *, seed: int) -> None:
    """Write an untrained Llama of about a million parameters, and a tokenizer made for the words of `items`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer(items)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        **_SHAPE,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(items: tuple[Item, ...]) -> Any:
    """A byte-level BPE tokenizer trained on the items' own texts and on the refusals."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [text for item in items for text in (item.question, item.answer, *item.perturbed_answers)]
    texts += load_refusals()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


def _clear(out: Path) -> None:
    """Make `out` an empty folder for a demo; an earlier demo there is removed, and nothing else."""
    if out.exists() and not out.is_dir():
        raise EffaceError(f"--out {out} is a file; give a folder")
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if found and not (out / _MARK).is_file():
        raise EffaceError(f"--out {out} is not empty and holds no earlier demo; choose another folder")
    if strangers := found - {_MARK, "base", "target", *METHODS}:
        raise EffaceError(f"--out {out} holds other things, too: {', '.join(sorted(strangers))}; choose another folder")
    for name in found - {_MARK}:
        shutil.rmtree(out / name)
    write_text(out / _MARK, "efface demo writes here, and removes what an earlier one wrote\n")


def _print_answers(console: Console, out: Path) -> None:
    records = {method: read_record_sets(RunPaths(out / method).records("after")) for method in METHODS}
    before = read_record_sets(RunPaths(out / METHODS[0]).records("before"))
    for name, title in (("forget", "To be forgotten"), ("retain", "To be kept")):
        print_answers(console, before[name], {method: sets[name] for method, sets in records.items()}, title=title)
