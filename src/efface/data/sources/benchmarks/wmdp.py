"""WMDP (arXiv:2403.03218): papers and code with hazardous knowledge to forget. No torch.

What a model knows is measured by multiple choice, with the downstream tasks wmdp_bio, wmdp_cyber and mmlu.
"""

from __future__ import annotations

from pathlib import Path

from efface.data.config import DataConfig
from efface.data.sources.benchmarks.benchmark_folder import BenchmarkFolder
from efface.data.sources.documents import continuation_set, documents
from efface.data.sources.refusals import load_refusals
from efface.data.task_checks import check_task_items
from efface.schema import Task

_CONTINUATIONS = 100
"""Documents of the forget corpus that are continued."""
_MIN_LENGTH = 50
"""Shorter texts, in characters, are left out: most lines of Wikitext are blank or headings."""


def load_wmdp(folder: Path, config: DataConfig) -> Task:
    """Load the task of one corpus.

    Args:
        folder: Folder of the benchmark's JSON-lines files.
        config: Settings with source=wmdp.

    Returns:
        The task, whose sets are beginnings of documents that the model continues.

    Raises:
        EffaceError: If a file is missing or damaged, or a column is missing.
    """
    benchmark = BenchmarkFolder(folder)
    file = "wikitext" if config.retain_corpus == "wikitext" else "retain"
    forget = documents(benchmark.rows("forget"), "forget", min_length=_MIN_LENGTH)[: config.documents]
    retain = documents(benchmark.rows(file), file, min_length=_MIN_LENGTH)[: config.documents]
    length = config.passage_length
    return check_task_items(
        Task(
            name=f"wmdp-{config.corpus}",
            forget=forget,
            retain=retain,
            evaluation=(
                continuation_set("forget", forget, _CONTINUATIONS, length, "output"),
                continuation_set("retain", retain, config.retain_evaluation, length, "answer"),
            ),
            refusals=load_refusals(),
            sources=benchmark.sources,
        )
    )
