"""efface as a library: the commands `efface run` and `efface evaluate` as two functions."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from efface.artifacts import Record, Results, Scores
from efface.data.config import DataConfig, FileConfig
from efface.errors import EffaceError
from efface.evaluation.folder import read_sets
from efface.presets import config_from
from efface.run.config import EvaluationConfig, RunConfig
from efface.run.evaluation import evaluate_model
from efface.run.folder import RunFolder
from efface.run.inputs import Inputs
from efface.run.models import load_model, load_tokenizer, stored_dtype
from efface.run.pipeline import run
from efface.run.pipeline import unlearn as run_without_scores
from efface.run.quiet import quiet_libraries
from efface.run.reporter import Reporter, Silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

StrPath = str | os.PathLike[str]


class DataFrame(Protocol):
    """Rows as pandas keeps them; efface itself does not need pandas."""

    def iterrows(self) -> Iterable[Any]:
        """Each row."""
        ...


Rows = Iterable[Mapping[str, Any]] | DataFrame
File = StrPath | Mapping[str, Any] | FileConfig | Rows
"""A path or `hf:OWNER/NAME`; rows; or a mapping of either, as `path` or `rows`, with `columns` and so on beside it, as
under `data.forget` in a config."""
Data = str | Mapping[str, Any] | DataConfig
PluginSpec = StrPath | type[object]
"""A file or module, or a class that derives from one of efface's; so wide for mypy, which joins those of a list."""


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
        folder = self.folder / "model"
        with quiet_libraries():
            return load_model(folder, dtype=stored_dtype(folder), device=torch.device("cpu"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return load_tokenizer(self.folder / "model")

    @cached_property
    def records(self) -> dict[str, dict[str, list[Record]]]:
        """`before` and `after` -> set name -> one record a question; empty without scores."""
        stages = {stage: self.folder / "records" / stage for stage in ("before", "after")}
        return {stage: read_sets(folder) for stage, folder in stages.items() if folder.is_dir()}


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What `evaluate` leaves. The records lie in `folder`, and are read when they are asked for."""

    folder: Path
    """The evaluation's folder, as `efface evaluate` writes it: records/, scores.json, config.yaml, manifest.json."""
    scores: Scores = field(repr=False)

    @cached_property
    def records(self) -> dict[str, list[Record]]:
        """Set name -> one record a question."""
        return read_sets(self.folder / "records")


def unlearn(
    model: StrPath | PreTrainedModel,
    *,
    forget: File | None = None,
    retain: File | Literal["generated"] | None = None,
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
    "Antwort"}} or {"rows": rows, "columns": ...}. Rows are kept in `out`/inputs. `retain` may also be "generated",
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
    `reporter`: told of stages, steps and warnings (`efface.run.reporter.Reporter`); without one, warnings are
    Python's.
    `settings`: all that a config file may hold, nested in the same way: train={"lr": 1e-5, "epochs": 5} (epochs
    over the forget set), text={"format": "plain"}, evaluate={"embedder": "none"}, seed=1, device="cpu",
    preset="tofu-forget01", ...

    Raises `EffaceError`, one sentence that says what to do, for whatever cannot be used, before anything is written;
    and for training that diverges.
    """
    with _folder(out, resume=resume) as folder:
        inputs = Inputs(RunFolder(folder))
        values = {
            "model": inputs.model(model, tokenizer),
            "data": inputs.data(data, forget, retain),
            "method": method,
            "plugins": plugins,
            **settings,
        }
        config = config_from(RunConfig, values)
        start = run if scores else run_without_scores
        told = reporter or _Warning(inputs)
        with inputs.written(config, resume=resume):
            results = start(config, folder, data_dir=_path(data_dir), resume=resume, reporter=told)
    done = Unlearned(folder.absolute(), results if isinstance(results, Results) else None)
    if out is None:
        _remove_with(done, folder)
    return done


def evaluate(
    model: StrPath | PreTrainedModel,
    *,
    forget: File | None = None,
    retain: File | None = None,
    data: Data | None = None,
    out: StrPath | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    plugins: PluginSpec | Sequence[PluginSpec] = (),
    data_dir: StrPath | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Evaluated:
    """Score a model as it is: what `efface evaluate` does.

        found = efface.evaluate("path/to/model", data="tofu-forget01", evaluate={"limit": 50})
        print(found.scores.sets["forget"].rouge)

    Everything is as in `unlearn`, but for what concerns training. `before`: records of the model before unlearning
    on the same questions, by set name, for the cosine similarity of the definition `paper`; None says that this is
    that model. Every score is in [0, 1], but for metrics of your own.

    Raises `EffaceError` for whatever cannot be used, before anything is written.
    """
    with _folder(out, resume=False) as folder:
        inputs = Inputs(RunFolder(folder))
        values = {
            "model": inputs.model(model, tokenizer),
            "data": inputs.data(data, forget, retain),
            "plugins": plugins,
            **settings,
        }
        config = config_from(EvaluationConfig, values)
        with inputs.written(config, resume=False):
            found = evaluate_model(
                config, folder, data_dir=_path(data_dir), before=before, reporter=reporter or _Warning(inputs)
            )
    done = Evaluated(folder.absolute(), found)
    if out is None:
        _remove_with(done, folder)
    return done


class _Warning(Silent):
    """Tells nobody but of what deserves a warning, of rows as the caller names them."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def warning(self, text: str) -> None:
        """Warn as Python libraries do: at the line that called efface."""
        level, frame = 1, sys._getframe()
        while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("efface", "contextlib"):
            level, frame = level + 1, frame.f_back
        warnings.warn(self._inputs.named(text), UserWarning, stacklevel=level)


@contextmanager
def _folder(out: StrPath | None, *, resume: bool) -> Iterator[Path]:
    """The run's folder; a temporary one goes where the run fails, unless it got as far as a checkpoint."""
    if out is not None:
        yield Path(out)
        return
    if resume:
        raise EffaceError("resume=True goes on in a run's folder; name it with out=...")
    temporary = Path(mkdtemp(prefix="efface-"))
    try:
        yield temporary
    except BaseException as error:
        diverged = isinstance(error, EffaceError) and RunFolder(temporary).checkpoints.is_dir()
        if not diverged:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def _remove_with(done: object, folder: Path) -> None:
    """Let a temporary folder go with the object that stands for it."""
    weakref.finalize(done, shutil.rmtree, folder, ignore_errors=True)


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)
