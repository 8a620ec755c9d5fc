"""`efface.unlearn_continually`: the command `efface run` with several requests, as a function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from efface.api.common import Data, File, PluginSpec, StrPath, folder_for, path_of, remove_with, reporting
from efface.api.inputs import Inputs
from efface.api.unlearning import Unlearned
from efface.artifacts import ContinualResults, Results
from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.continual.folder import QueueFolder
from efface.continual.queue import run_queue
from efface.progress.reporter import Reporter
from efface.records import RecordSets

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class UnlearnedContinually:
    """The result of `unlearn_continually`. It is stored in `folder`, and read on access."""

    folder: Path
    """The folder of all requests, as `efface run` writes it: requests/01 and so on, results.json, config.yaml."""
    results: ContinualResults = field(repr=False)
    """The scores of every forget set over time."""

    @cached_property
    def last(self) -> Unlearned:
        """The run of the last request: its scores, its records, and the model that has forgotten everything."""
        run = QueueFolder(self.folder).request(len(self.results.requests))
        results = run.read_results()
        assert isinstance(results, Results), "it is done"
        return Unlearned(run.root, results)

    @property
    def model(self) -> Any:
        """The `PreTrainedModel` that has forgotten everything, as `Unlearned.model`."""
        return self.last.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self.last.tokenizer

    @cached_property
    def records_before(self) -> RecordSets:
        """Records of the model before all requests; `forgotten-1` is the first forget set."""
        return QueueFolder(self.folder).records_before()


def unlearn_continually(
    model: StrPath | PreTrainedModel,
    *,
    requests: Sequence[int | File],
    retain: File | Literal["model-answers"] | None = None,
    data: Data | None = None,
    reference: Literal["previous", "first"] = "previous",
    keep_models: Literal["last", "all"] = "last",
    lora: Literal["merge", "keep"] | None = None,
    method: str,
    out: StrPath | None = None,
    tokenizer: PreTrainedTokenizerBase | StrPath | None = None,
    plugins: PluginSpec | Sequence[PluginSpec] = (),
    data_dir: StrPath | None = None,
    resume: bool = False,
    progress: bool = True,
    reporter: Reporter | None = None,
    **settings: Any,
) -> UnlearnedContinually:
    """Unlearn several requests one after another; after each, score the forget sets of all so far.

        done = efface.unlearn_continually("path/to/model", requests=["a.csv", "b.csv"], retain="retain.csv", out="out")
        done.results.forget_efficacy    # one row per request: its forget set before, and after each request
        done.model.generate(...)

    Args:
        model: As for `unlearn`.
        requests: What to forget, in order: files or rows, as `forget` of `unlearn`; or numbers of the tasks of a
            benchmark that `data` names. The forget sets of later requests belong to the retain set.
        retain: As for `unlearn`.
        data: As for `unlearn`.
        reference: What NPO, DPO and KL compare with: the model that the previous request left, or the one before all
            requests.
        keep_models: "all" keeps the model of every request.
        lora: With adapters (`train={"lora": True}`), "keep" goes on training the same adapter on the model before all
            requests, and "merge" merges it after each request. Default: "merge", or what the preset's recipe says.
        method: As for `unlearn`.
        out: As for `unlearn`; each request has a run's folder in `out`/requests.
        tokenizer: As for `unlearn`.
        plugins: As for `unlearn`.
        data_dir: As for `unlearn`.
        resume: Continue in `out`, where the same call was stopped, or where `requests` has further ones at the end.
        progress: As for `unlearn`.
        reporter: As for `unlearn`.
        **settings: As for `unlearn`.

    Returns:
        The scores over time, and access to the last request's model and records.

    Raises:
        EffaceError: Something cannot be used, a request repeats an earlier one or leaves no retain set (before anything
            is written), or training diverges.
    """
    with folder_for(out, resume=resume) as folder:
        inputs = Inputs(QueueFolder(folder))
        values = {
            **inputs.model(model, tokenizer),
            "data": inputs.data({} if data is None else data, None, retain),
            "continual": {
                "requests": inputs.requests(requests),
                "reference": reference,
                "keep_models": keep_models,
                **({} if lora is None else {"lora": lora}),
            },
            "method": method,
            "plugins": plugins,
            **settings,
        }
        config = resolve_config(RunConfig, settings=values)
        with inputs.written(config, resume=resume), reporting(reporter, inputs, progress=progress) as shown:
            results = run_queue(config, folder, data_dir=path_of(data_dir), resume=resume, reporter=shown)
    done = UnlearnedContinually(folder.absolute(), results)
    if out is None:
        remove_with(done, folder)
    return done
