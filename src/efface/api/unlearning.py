"""`efface.unlearn`: the command `efface run` as a function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from efface.api.common import Data, File, PluginSpec, StrPath, folder_for, path_of, remove_with, reporting
from efface.api.inputs import Inputs
from efface.artifacts import Results
from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.files.folders import STAGES, RunPaths
from efface.models.dtypes import stored_dtype
from efface.models.load import load_model
from efface.models.tokenizer import load_tokenizer
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter
from efface.records import RecordSets
from efface.run.folder import RunFolder
from efface.run.pipeline import run
from efface.run.pipeline import unlearn as run_without_scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Unlearned:
    """The result of `unlearn`. It is stored in `folder`, and read on access."""

    folder: Path
    """The run's folder, as `efface run` writes it: model/, records/, results.json, config.yaml and so on."""
    _results: Results | None = field(repr=False)

    @property
    def results(self) -> Results:
        """Scores before and after unlearning.

        Raises:
            EffaceError: The model was unlearned with `scores=False`.
        """
        if self._results is None:
            raise EffaceError(f"{self.folder} has no results (scores=False); score its model with efface.evaluate")
        return self._results

    @cached_property
    def model(self) -> Any:
        """The unlearned `PreTrainedModel` on the CPU, in evaluation mode and in the dtype of the original model."""
        folder = RunPaths(self.folder).model
        with quiet_libraries():
            return load_model(folder, dtype=stored_dtype(folder), device=torch.device("cpu"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return load_tokenizer(RunPaths(self.folder).model)

    @cached_property
    def records(self) -> dict[str, RecordSets]:
        """`before` and `after` -> set name -> one record per question; empty without scores."""
        stages = {stage: RunPaths(self.folder).records(stage) for stage in STAGES}
        return {stage: read_record_sets(folder) for stage, folder in stages.items() if folder.is_dir()}


def unlearn(
    model: StrPath | PreTrainedModel,
    *,
    forget: File | None = None,
    retain: File | Literal["model-answers"] | None = None,
    data: Data | None = None,
    method: str,
    out: StrPath | None = None,
    tokenizer: PreTrainedTokenizerBase | StrPath | None = None,
    plugins: PluginSpec | Sequence[PluginSpec] = (),
    data_dir: StrPath | None = None,
    scores: bool = True,
    resume: bool = False,
    progress: bool = True,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Unlearned:
    """Make a model forget, and score it before and after, as `efface run` does.

        done = efface.unlearn(
            "path/to/model",
            forget=[{"question": "Where does Ada live?", "answer": "In Turku."}],
            retain="retain.csv",
            method="me+gd",
            out="runs/ada",
            train={"lr": 1e-5},
        )
        print(done.results.after.partial.forget_efficacy)  # over the metrics that this data allows
        done.model.generate(...)

    Args:
        model: A folder, a name on the Hugging Face hub, or a transformers model with its `tokenizer`. An object is
            not changed: it is written to `out`/before, where the run loads it from; a path saves that copy.
        forget: The forget set: a file or folder, `hf:OWNER/NAME`, or rows. Rows are a pandas data frame or an iterable
            of mappings with `question` and `answer`, `messages`, or `text`, such as a list or a split of a dataset;
            they are stored in `out`/inputs. For other column names, give a mapping: {"path": ..., "columns":
            {"question": "Frage", "answer": "Antwort"}} or {"rows": rows, "columns": ...}.
        retain: The retain set, as `forget`; "model-answers" for the model's answers to generic questions and the
            well-known facts that it knows; or None for methods that only forget.
        data: A benchmark in place of `forget` and `retain`, such as "tofu-forget01"; or further settings of the data,
            such as {"passage_length": 500}, which may contain `forget` and `retain`, too. {"refusals": ...} is a
            file with one refusal a line, or a list of texts, for methods that train refusals.
        method: `me+gd`, `idk+ap`, `npo+gd` and so on, or a custom one.
        out: The run's folder, new or empty. None makes a temporary one that exists as long as the returned object;
            it is left on disk if training diverges after a checkpoint.
        tokenizer: The tokenizer of a model object; or a folder or name on the hub with the tokenizer of a model whose
            own folder has none.
        plugins: Custom objectives and metrics: classes, "path/to/file.py" or "package.module"; `:Class` at the end
            selects one of several. They are code that runs with your rights.
        data_dir: Where benchmarks are stored, if not where `efface data fetch` puts them.
        scores: False only trains.
        resume: Continue a run of the same settings that was stopped in `out`.
        progress: Show stages and progress bars on standard error; False shows nothing.
        reporter: Gets stages, steps and warnings (`efface.progress.reporter.Reporter`) in place of that; without one,
            warnings are Python warnings.
        **settings: Everything else that a config file may contain, nested in the same way: train={"lr": 1e-5,
            "epochs": 5} (epochs over the forget set), text={"format": "plain"}, evaluate={"embedder": "none"}, seed=1,
            device="cpu", preset="tofu-forget01", ...

    Returns:
        The scores, and access to the unlearned model, its tokenizer and the records.

    Raises:
        EffaceError: Something cannot be used (before anything is written), or training diverges. The message is one
            sentence that says what to do.
    """
    with folder_for(out, resume=resume) as folder:
        inputs = Inputs(RunFolder(folder))
        values = {
            **inputs.model(model, tokenizer),
            "data": inputs.data(data, forget, retain),
            "method": method,
            "plugins": plugins,
            **settings,
        }
        config = resolve_config(RunConfig, settings=values)
        unlearn_in = run if scores else run_without_scores
        with inputs.written(config, resume=resume), reporting(reporter, inputs, progress=progress) as shown:
            results = unlearn_in(config, folder, data_dir=path_of(data_dir), resume=resume, reporter=shown)
    done = Unlearned(folder.absolute(), results if isinstance(results, Results) else None)
    if out is None:
        remove_with(done, folder)
    return done
