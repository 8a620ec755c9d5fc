"""Items that no model was trained on, beside the items to forget: what membership inference compares. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from efface.data.config import DataConfig, FileConfig
from efface.data.sources.benchmarks.benchmark_folder import BenchmarkFolder
from efface.data.sources.benchmarks.published import default_data_folder
from efface.data.sources.user_files import load_file
from efface.data.task_checks import normalize, prompt_key
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task


def add_holdout(task: Task, config: DataConfig, data_dir: Path | None) -> Task:
    """Add the evaluation set `holdout`, of which only the likelihoods are computed.

    Args:
        task: A task.
        config: Settings of its data.
        data_dir: As in `load_task`; the holdout sets of TOFU are files in it.

    Returns:
        The task with this set, and with Min-K% probability for it and the forget set; the same task if
        `config.holdout` is None.

    Raises:
        EffaceError: If the file cannot be used, or contains an item that is trained on.
    """
    match config.holdout:
        case None:
            return task
        case FileConfig():
            file = load_file(config.holdout, "holdout", config.passage_length)
            name, items, sources, warnings = file.name, file.scored_items(), {file.name: file.sha256}, file.warnings
        case _:
            name, items, sources = _published(config, data_dir)
            warnings = ()
    _check_unseen(task, items, name)
    holdout = EvaluationSet(
        name="holdout", items=items, entailment_premise="output", max_new_tokens=0, extra_metrics=("min_k",)
    )
    scored = (
        each.model_copy(update={"extra_metrics": (*each.extra_metrics, "min_k")}) if each.name == "forget" else each
        for each in task.evaluation
    )
    return task.model_copy(
        update={
            "evaluation": (*scored, holdout),
            "sources": {**task.sources, **sources},
            "warnings": (*task.warnings, *warnings),
        }
    )


def _published(config: DataConfig, data_dir: Path | None) -> tuple[str, tuple[Item, ...], dict[str, str]]:
    """The holdout set of a TOFU split: name of its file, items and source."""
    root = data_dir or os.environ.get("EFFACE_DATA") or default_data_folder()
    name = str(config.split).replace("forget", "holdout")
    folder = Path(root) / "tofu"
    if not (folder / f"{name}.json").is_file():
        raise EffaceError(
            f"data.holdout=published: there is no {folder / name}.json; run `efface data fetch tofu-holdout`, or give "
            "data.holdout=FILE"
        )
    benchmark = BenchmarkFolder(folder)
    return name, benchmark.items(name), benchmark.sources


def _check_unseen(task: Task, items: tuple[Item, ...], name: str) -> None:
    trained = {(prompt_key(item), normalize(item.answer)): item.id for item in (*task.forget, *task.retain)}
    for item in items:
        if twin := trained.get((prompt_key(item), normalize(item.answer))):
            raise EffaceError(
                f"data.holdout: {item.id} of {name} is also trained on ({twin}); give items that no model has seen"
            )
