"""`efface demo`: nothing -> a small model that learned synthetic authors and unlearned some, by four methods."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import efface
from efface.artifacts import Results
from efface.commands.evaluate import evaluate_model
from efface.commands.finetune import finetune
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.resolve import resolve_config
from efface.data import load_task, load_training_set
from efface.data.sources.refusals import load_refusals
from efface.errors import EffaceError
from efface.evaluation.judging.judges import Judges, open_judges
from efface.evaluation.record_files import read_record_sets
from efface.files.atomic import atomic_folder, write_text
from efface.files.folder_lock import is_lock, lock_folder
from efface.files.folders import REPORT, RunPaths
from efface.hardware.device import device_for
from efface.hardware.memory import keep_freed_memory
from efface.progress.console import ConsoleReporter
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter
from efface.records import RecordSets
from efface.report.page.html import render_page
from efface.report.page.load_run import load_report_run
from efface.report.terminal.answers import print_answers
from efface.report.terminal.results import print_results
from efface.run.at_once import ConcurrentJob, at_once, most_at_once
from efface.run.pipeline import run
from efface.schema import Item

METHODS = ("me+gd", "idk+ap", "ga+gd", "idk+gd")
"""The two methods that the paper recommends, then two baselines."""
BEFORE = "before"
"""The folder with the scores and records of the target model."""
_MARKER_FILE = ".efface-demo"
"""A file that marks a folder as written by the demo."""
_VOCABULARY = 2048
_MODEL_SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


@quiet_libraries()
def run_demo(out: Path, *, seed: int, settings: Sequence[str] = ()) -> dict[str, Results]:
    """Run the demo: an untrained model, a fine-tuned target model, and one run for each method; print the scores.

    Args:
        out: The folder to write `base`, `target`, `before` and one run folder for each method to. An earlier demo is
            removed.
        seed: Seed of authors, weights and training.
        settings: key=value pairs for the fine-tuning and all runs, such as `data.authors=4` for a smaller demo.

    Returns:
        The results of each method.

    Raises:
        EffaceError: `out` has other content than an earlier demo, or another process has it.
    """
    with lock_folder(out):
        return _run_demo(out, seed=seed, settings=settings)


def _run_demo(out: Path, *, seed: int, settings: Sequence[str]) -> dict[str, Results]:
    console = Console()
    start = time.perf_counter()
    keep_freed_memory()
    _clear(out)
    shared = [f"seed={seed}", f"data.author_seed={seed}", *settings]
    with ConsoleReporter(console) as reporter:
        target = _fine_tune_target(out / "base", out / "target", shared, reporter=reporter)
        judges = _open_judges(target, shared)
        before = _records_before(out / BEFORE, target, shared, judges, reporter=reporter)
        results = _unlearn(out, target, before, shared, judges, reporter=reporter)
    _print_answers(console, out, before)  # the longest first: what was forgotten and kept is then still in view
    print_results(console, results)
    console.print(f"{time.perf_counter() - start:.0f} s; runs in {out}", highlight=False)
    _print_closing(console, out, seed=seed)
    return results


def _evaluation_config(target: Path, settings: Sequence[str]) -> EvaluationConfig:
    used = [pair for pair in settings if not pair.startswith("train.")]
    return resolve_config(EvaluationConfig, "demo", [f"model={target}", *used])


def _open_judges(target: Path, settings: Sequence[str]) -> Judges:
    """The models that judge outputs: opened once for all, as they keep the embeddings of the reference answers."""
    config = _evaluation_config(target, settings)
    return open_judges(config.evaluate, device_for(config.device), load_task(config.data, data_dir=None).evaluation)


def _records_before(
    folder: Path, target: Path, settings: Sequence[str], judges: Judges, *, reporter: Reporter
) -> RecordSets:
    """Evaluate the target model once for all methods."""
    evaluate_model(_evaluation_config(target, settings), folder, reporter=reporter, judges=judges)
    return read_record_sets(RunPaths(folder).records_root)


def _unlearn(
    out: Path,
    target: Path,
    before: RecordSets,
    settings: Sequence[str],
    judges: Judges,
    *,
    reporter: ConsoleReporter,
) -> dict[str, Results]:
    """Unlearn with every method: on a CPU as many at once as it has cores, each with one thread."""
    configs = {
        method: resolve_config(RunConfig, "demo", [f"model={target}", f"method={method}", *settings])
        for method in METHODS
    }
    processes = min(len(METHODS), most_at_once(device_for(configs[METHODS[0]].device)))

    def job(method: str, config: RunConfig) -> ConcurrentJob[Results]:
        own = reporter if processes == 1 else reporter.labeled(f"{method}:")
        return ConcurrentJob(
            method, lambda told: run(config, out / method, reporter=told, before=before, judges=judges), own
        )

    results = {each.name: result for each, result in at_once(list(starmap(job, configs.items())), processes=processes)}
    return {method: results[method] for method in METHODS}


def make_target(folder: Path, settings: Sequence[str], *, reporter: Reporter) -> Path:
    """Make the demo's target model where none was given, or continue to make it.

    Args:
        folder: The folder of its fine-tuning; the untrained model goes into the folder `base` beside it.
        settings: key=value pairs of a run, of which seed and data are used.
        reporter: Gets stages, steps and warnings.

    Returns:
        The folder of the target model.

    Raises:
        EffaceError: A setting is wrong, or the folder contains something else.
    """
    used = [pair for pair in settings if pair.startswith(("seed=", "data.", "text.", "device="))]
    return _fine_tune_target(folder.with_name("base"), folder, used, reporter=reporter, resume=True)


def _fine_tune_target(
    base: Path, target: Path, settings: Sequence[str], *, reporter: Reporter, resume: bool = False
) -> Path:
    config = resolve_config(FinetuneConfig, "demo", [f"model={base}", *settings])
    if not (resume and base.is_dir()):
        write_base_model(base, load_training_set(config.data, data_dir=None), seed=config.seed)
    return finetune(config, target, reporter=reporter, resume=resume)


def write_base_model(folder: Path, items: tuple[Item, ...], *, seed: int) -> None:
    """Write an untrained Llama of about a million parameters, and a tokenizer trained on `items`.

    Args:
        folder: Where to save model and tokenizer.
        items: The training set of the target model.
        seed: Seed of the weights.

    Raises:
        WriteError: The folder cannot be written; no incomplete one stays.
    """
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
        **_MODEL_SHAPE,
    )
    with atomic_folder(folder) as partial:  # a folder that a kill left incomplete would be trained from
        LlamaForCausalLM(config).save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def _tokenizer(items: tuple[Item, ...]) -> Any:
    """A byte-level BPE tokenizer trained on the texts of the items and on the refusals."""
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
    """Make `out` an empty folder for a demo. An earlier demo is removed, and nothing else."""
    names = {path.name for path in out.iterdir() if not is_lock(path)}
    if names and not (out / _MARKER_FILE).is_file():
        raise EffaceError(f"--out {out} is not empty and has no earlier demo in it; choose another folder")
    if unknown := names - {_MARKER_FILE, REPORT, "base", "target", BEFORE, *METHODS}:
        listed = ", ".join(sorted(unknown))
        raise EffaceError(f"--out {out} has files that the demo did not write: {listed}; choose another folder")
    (out / REPORT).unlink(missing_ok=True)
    for name in names - {_MARKER_FILE, REPORT}:
        shutil.rmtree(out / name)
    write_text(out / _MARKER_FILE, "efface demo writes to this folder and removes earlier demos in it\n")


def _print_answers(console: Console, out: Path, before: RecordSets) -> None:
    records = {method: read_record_sets(RunPaths(out / method).records("after")) for method in METHODS}
    for name, title in (("forget", "Forget set"), ("retain", "Retain set")):
        print_answers(console, before[name], {method: sets[name] for method, sets in records.items()}, title=title)


def _print_closing(console: Console, out: Path, *, seed: int) -> None:
    """The path of a page of all methods, and what to do next."""
    runs = [load_report_run(out / method) for method in METHODS]
    write_text(out / REPORT, render_page(runs, version=efface.__version__))
    seeded = [] if seed == 0 else [f"seed={seed}", f"data.author_seed={seed}"]
    words = ["efface", "tune", "demo", f"model={out / 'target' / 'model'}", *seeded, "--keep", "0.95", "--minutes", "5"]
    console.print(f"report: {out / REPORT}", highlight=False, soft_wrap=True)
    console.print(f"next: {shlex.join([*words, '--out', f'{out}-tuned'])}", highlight=False, soft_wrap=True)
