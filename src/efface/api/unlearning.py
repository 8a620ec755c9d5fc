"""`efface.unlearn`: the command `efface run` as a function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from efface.api.common import Data, File, PluginSpec, StrPath, WarningsReporter, folder_for, path_of, remove_with
from efface.api.inputs import Inputs
from efface.artifacts import Record, Results
from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.folders import STAGES, RunPaths
from efface.models.dtypes import stored_dtype
from efface.models.load import load_model, load_tokenizer
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.run.pipeline import run
from efface.run.pipeline import unlearn as run_without_scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Unlearned:
    """What `unlearn` leaves. It lies in `folder`, and is read when it is asked for."""

    folder: Path
    """The run's folder, as `efface run` writes it: model/, records/, results.json, config.yaml and so on."""
    _results: Results | None = field(repr=False)

    @property
    def results(self) -> Results:
        """Scores before and after. Raises `EffaceError` where none were asked for."""
        if self._results is None:
            raise EffaceError(f"{self.folder} was made with scores=False; score its model with efface.evaluate")
        return self._results

    @cached_property
    def model(self) -> Any:
        """The unlearned `PreTrainedModel` on the CPU, in evaluation mode and in the dtype that the model came in."""
        folder = RunPaths(self.folder).model
        with quiet_libraries():
            return load_model(folder, dtype=stored_dtype(folder), device=torch.device("cpu"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return load_tokenizer(RunPaths(self.folder).model)

    @cached_property
    def records(self) -> dict[str, dict[str, list[Record]]]:
        """`before` and `after` -> set name -> one record a question; empty without scores."""
        stages = {stage: RunPaths(self.folder).records(stage) for stage in STAGES}
        return {stage: read_record_sets(folder) for stage, folder in stages.items() if folder.is_dir()}


def unlearn(
    model: StrPath | PreTrainedModel,
    *,
    forget: File | None = None,
    retain: File | Literal["model-answers"] | None = None,
    data: Data | None = None,
    method: str = "me+gd",
    out: StrPath | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    plugins: PluginSpec | Sequence[PluginSpec] = (),
    data_dir: StrPath | None = None,
    scores: bool = True,
    resume: bool = False,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Unlearned:
    """Make a model forget, and score it before and after: what `efface run` does.

        done = efface.unlearn(
            "path/to/model",
            forget=[{"question": "Where does Ada live?", "answer": "In Turku."}],
            retain="keep.csv",
            out="runs/ada",
            train={"lr": 1e-5},
        )
        print(done.results.after.partial.forget_efficacy)  # over the metrics that this data allows
        done.model.generate(...)

    `model`: a folder, a name on the Hugging Face hub, or a model of transformers with its `tokenizer`. An object is
    not changed: it is written to `out`/before, and the run starts from there; a path spares that copy.
    `forget`, `retain`: what to forget and what to keep. A file or folder, `hf:OWNER/NAME`, or rows: a data frame of
    pandas, or an iterable of mappings with `question` and `answer`, `messages`, or `text`, such as a list or a split
    of a dataset. Columns with other names go beside it: {"path": ..., "columns": {"question": "Frage", "answer":
    "Antwort"}} or {"rows": rows, "columns": ...}. Rows are kept in `out`/inputs. `retain` may also be "model-answers",
    for the model's own answers to generic questions, or None, for methods that only forget.
    `data`: a benchmark instead, such as "tofu-forget01", or further settings of the data such as
    {"passage_length": 500}, in which `forget` and `retain` may stand, too. `data_dir`: where the benchmarks lie, if
    not where `efface data fetch` puts them.
    `method`: `me+gd`, `idk+ap`, `npo+gd` and so on, or one of your own.
    `plugins`: objectives and metrics of your own: classes, "path/to/file.py" or "package.module", where `:Class`
    behind it takes one of several. They are code that runs with your rights.
    `out`: the run's folder, new or empty; None makes a temporary one that lives as long as what is returned (training
    that diverges leaves it, with the last checkpoint).
    `scores`: False only trains. `resume`: go on where a run of the same settings was stopped in `out`.
    `reporter`: told of stages, steps and warnings (`efface.progress.reporter.Reporter`); without one, warnings are
    Python's.
    `settings`: all that a config file may hold, nested in the same way: train={"lr": 1e-5, "epochs": 5} (epochs
    over the forget set), text={"format": "plain"}, evaluate={"embedder": "none"}, seed=1, device="cpu",
    preset="tofu-forget01", ...

    Raises `EffaceError`, one sentence that says what to do, for whatever cannot be used, before anything is written;
    and for training that diverges.
    """
    with folder_for(out, resume=resume) as folder:
        inputs = Inputs(RunFolder(folder))
        values = {
            "model": inputs.model(model, tokenizer),
            "data": inputs.data(data, forget, retain),
            "method": method,
            "plugins": plugins,
            **settings,
        }
        config = resolve_config(RunConfig, settings=values)
        start = run if scores else run_without_scores
        told = reporter or WarningsReporter(inputs)
        with inputs.written(config, resume=resume):
            results = start(config, folder, data_dir=path_of(data_dir), resume=resume, reporter=told)
    done = Unlearned(folder.absolute(), results if isinstance(results, Results) else None)
    if out is None:
        remove_with(done, folder)
    return done
