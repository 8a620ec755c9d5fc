"""`efface.tune`: the command `efface tune` as a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from efface.api.common import Data, File, StrPath, WarningsReporter, folder_for, path_of
from efface.api.inputs import Inputs
from efface.api.unlearning import Unlearned
from efface.files.folders import TunePaths
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.tuning.request import tuning_of
from efface.tuning.search import tune as search

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def tune(
    model: StrPath | PreTrainedModel,
    *,
    keep: float,
    out: StrPath,
    forget: File | None = None,
    retain: File | Literal["model-answers"] | None = None,
    data: Data | None = None,
    methods: Sequence[str] = (),
    minutes: float | None = None,
    trials: int | None = None,
    space: StrPath | Mapping[str, Any] | None = None,
    tokenizer: PreTrainedTokenizerBase | StrPath | None = None,
    data_dir: StrPath | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Unlearned:
    """Find the settings that forget most while the model keeps a share of its utility, as `efface tune` does.

        found = efface.tune("path/to/model", keep=0.95, forget="forget.csv", retain="retain.csv", out="runs/tuned")
        print(found.results.tune.held, found.results.tune.kept)
        found.model.generate(...)

    Args:
        model: As for `unlearn`.
        keep: Share of the utility on the retain sets that the model must keep, such as 0.95.
        out: The folder of the search, new or empty.
        forget: As for `unlearn`.
        retain: As for `unlearn`.
        data: As for `unlearn`.
        methods: To choose from; by default `method`, or me+gd and idk+ap, or with retain="model-answers" me+kl and
            idk+kl.
        minutes: How long to search; the best trials are then scored.
        trials: How many trials to make in all, 30 by default; without `minutes`.
        space: What is searched, or a YAML file with it: {"train.lr": {"low": 1e-5, "high": 1e-3, "log": True}}.
        tokenizer: As for `unlearn`.
        data_dir: As for `unlearn`.
        resume: Continue a search in `out`.
        reporter: Gets stages, steps and warnings.
        **settings: As for `unlearn`.

    Returns:
        The model that was found, with scores of questions that the search never looked at. `results.tune.held` says
        whether it is within the bound.

    Raises:
        EffaceError: Something cannot be used, Optuna is not installed, or no trial has a model that can be scored.
    """
    with folder_for(out, resume=resume) as folder:
        inputs = Inputs(RunFolder(TunePaths(folder).search))
        values = {**inputs.model(model, tokenizer), "data": inputs.data(data, forget, retain), **settings}
        tuning = tuning_of(
            None,
            [],
            keep=keep,
            settings=values,
            methods=methods,
            minutes=minutes,
            trials=trials,
            space=space if space is None or isinstance(space, Mapping) else Path(space),
        )
        reporter = reporter or WarningsReporter(inputs)
        with inputs.written(tuning.base, resume=resume):
            results = search(tuning, folder, data_dir=path_of(data_dir), resume=resume, reporter=reporter)
    return Unlearned(folder.absolute(), results)
