"""MUSE (arXiv:2407.06460): news articles and books to forget, and the sets that it scores. No torch."""

from __future__ import annotations

from pathlib import Path

from efface.data.config import MUSE_FOLDS, DataConfig
from efface.data.items import to_item
from efface.data.sources.benchmarks.benchmark_folder import BenchmarkFolder
from efface.data.sources.documents import continuation_set, documents
from efface.data.sources.refusals import load_refusals
from efface.data.subsets import forgotten_before_sets
from efface.data.task_checks import check_task_items
from efface.schema import EvaluationSet, Item, Task, Turn

_VERBATIM_TOKENS, _KNOWLEDGE_TOKENS = 128, 32
_STOP = ("\n\n", "\nQuestion", "Question:")
"""A base model goes on with further questions after its answer."""
_CONTINUATIONS = 100
"""Documents that are continued, of forget corpora without published continuations; as many as the published ones."""


def load_muse(folder: Path, config: DataConfig) -> Task:
    """Load the task of one corpus.

    Verbatim memorization is measured on the set `forget`, knowledge of the forget corpus on `forget_knowledge`,
    utility on `retain`, and privacy leakage on `members` and `holdout`.

    Args:
        folder: Folder of the benchmark's JSON-lines files.
        config: Settings with source=muse.

    Returns:
        The task.

    Raises:
        EffaceError: If a file is missing or damaged, or a column is missing.
    """
    benchmark = BenchmarkFolder(folder)
    earlier = [_forget_corpus(benchmark, config, each) for each in config.forgotten_before if isinstance(each, int)]
    forget = _forget_corpus(benchmark, config, config.task)
    scored = _continuations(forget, config) if config.forget_corpus == "sust" else _verbatim(benchmark)
    retain = _text_items(benchmark, "raw_retain1")
    number = "" if config.forget_corpus == "raw" else f"-{config.forget_corpus}{config.task}"
    return check_task_items(
        Task(
            name=f"muse-{config.corpus}{number}",
            forget=forget,
            retain=retain,
            evaluation=(
                scored,
                *(
                    each.model_copy(update={"name": numbered.name})
                    for each, numbered in zip(
                        (_continuations(items, config) for items in earlier),
                        forgotten_before_sets(earlier),
                        strict=True,
                    )
                ),
                _knowledge(benchmark, "forget_knowledge", "forget"),
                _knowledge(benchmark, "retain", "retain"),
                _whole_texts(benchmark, "members", "privleak_forget"),
                _whole_texts(benchmark, "holdout", "privleak_holdout"),
            ),
            refusals=load_refusals(),
            sources=benchmark.sources,
        )
    )


def load_muse_training_set(folder: Path, config: DataConfig) -> tuple[Item, ...]:
    """Load what the benchmark's target model is trained on.

    Args:
        folder: Folder of the benchmark's JSON-lines files.
        config: Settings with source=muse.

    Returns:
        The documents of all forget corpora, then those that the retain questions are about and those that methods use
        as their retain set.

    Raises:
        EffaceError: If a file is missing or damaged, or a column is missing.
    """
    benchmark = BenchmarkFolder(folder)
    largest = f"scal_forget_{MUSE_FOLDS}" if config.corpus == "news" else "raw_forget"
    return tuple(item for file in (largest, "raw_retain2", "raw_retain1") for item in _text_items(benchmark, file))


def muse_requests(folder: Path, config: DataConfig) -> tuple[Item, ...]:
    """Load what a retrained model does not see.

    Args:
        folder: Folder of the benchmark's JSON-lines files.
        config: Settings with source=muse.

    Returns:
        The documents of the forget corpus, and of those of earlier requests.

    Raises:
        EffaceError: If a file is missing or damaged, or a column is missing.
    """
    benchmark = BenchmarkFolder(folder)
    numbers = [config.task, *(each for each in config.forgotten_before if isinstance(each, int))]
    return tuple(item for number in numbers for item in _forget_corpus(benchmark, config, number))


def _forget_corpus(benchmark: BenchmarkFolder, config: DataConfig, number: int) -> tuple[Item, ...]:
    raw = config.forget_corpus == "raw"
    return _text_items(benchmark, "raw_forget" if raw else f"{config.forget_corpus}_forget_{number}")


def _text_items(benchmark: BenchmarkFolder, file: str) -> tuple[Item, ...]:
    return documents(benchmark.rows(file), file)


def _verbatim(benchmark: BenchmarkFolder) -> EvaluationSet:
    """The published beginnings of texts, which the model continues; a space joins them with what follows."""
    file = "verbmem_forget"
    items = tuple(
        Item(id=f"{file}/{row.number:04d}", question=row.text("prompt"), answer=f" {row.text('gt')}", passage=True)
        for row in benchmark.rows(file)
    )
    return _as_verbatim(EvaluationSet(name="forget", items=items, entailment_premise="output"))


def _continuations(items: tuple[Item, ...], config: DataConfig) -> EvaluationSet:
    return _as_verbatim(continuation_set("forget", items, _CONTINUATIONS, config.passage_length, "output"))


def _as_verbatim(each: EvaluationSet) -> EvaluationSet:
    return each.model_copy(update={"max_new_tokens": _VERBATIM_TOKENS, "extra_metrics": ("rouge_l_f1",)})


def _knowledge(benchmark: BenchmarkFolder, name: str, split: str) -> EvaluationSet:
    """Questions after the published few-shot examples."""
    examples = [to_item(row, "") for row in benchmark.rows(f"knowmem_{split}_qa_icl")]
    history = tuple(
        turn
        for example in examples
        for turn in (Turn(role="user", content=example.question), Turn(role="assistant", content=example.answer))
    )
    items = benchmark.items(f"knowmem_{split}_qa")
    return EvaluationSet(
        name=name,
        items=tuple(item.model_copy(update={"history": history}) for item in items),
        entailment_premise="output" if split == "forget" else "answer",
        max_new_tokens=_KNOWLEDGE_TOKENS,
        stop=_STOP,
        extra_metrics=("rouge_l_f1",),
    )


def _whole_texts(benchmark: BenchmarkFolder, name: str, file: str) -> EvaluationSet:
    return EvaluationSet(
        name=name,
        items=_text_items(benchmark, file),
        entailment_premise="output",
        max_new_tokens=0,
        extra_metrics=("min_k",),
    )
