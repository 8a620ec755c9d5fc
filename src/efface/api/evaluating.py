"""`efface.evaluate`: the command `efface evaluate` as a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efface.api.common import Data, File, PluginSpec, StrPath, folder_for, path_of, remove_with, reporting
from efface.api.inputs import Inputs
from efface.artifacts import Scores
from efface.commands.evaluate import evaluate_model
from efface.config.commands import EvaluationConfig
from efface.config.resolve import resolve_config
from efface.evaluation.record_files import read_record_sets
from efface.files.folders import RunPaths
from efface.progress.reporter import Reporter
from efface.records import Record, RecordSets
from efface.run.folder import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The result of `evaluate`. The records are stored in `folder`, and read on access."""

    folder: Path
    """The evaluation's folder, as `efface evaluate` writes it: records/, scores.json, config.yaml, manifest.json."""
    scores: Scores = field(repr=False)

    @cached_property
    def records(self) -> RecordSets:
        """Set name -> one record per question."""
        return read_record_sets(RunPaths(self.folder).records_root)


def evaluate(
    model: StrPath | PreTrainedModel,
    *,
    forget: File | None = None,
    retain: File | None = None,
    data: Data | None = None,
    out: StrPath | None = None,
    tokenizer: PreTrainedTokenizerBase | StrPath | None = None,
    plugins: PluginSpec | Sequence[PluginSpec] = (),
    data_dir: StrPath | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
    resume: bool = False,
    progress: bool = True,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Evaluated:
    """Score a model, as `efface evaluate` does. Every score is in [0, 1], except custom metrics.

        found = efface.evaluate("path/to/model", data="tofu-forget01", evaluate={"limit": 50})
        print(found.scores.sets["forget"].rouge)

    Args:
        model: As for `unlearn`.
        forget: As for `unlearn`.
        retain: As for `unlearn`, except "model-answers".
        data: As for `unlearn`.
        out: The folder to write, new or empty; None makes a temporary one that exists as long as the returned object.
        tokenizer: As for `unlearn`.
        plugins: Custom metrics, as for `unlearn`.
        data_dir: As for `unlearn`.
        before: Records of the model before unlearning on the same questions, by set name, for the cosine similarity
            of the definition `paper`; None means that `model` is that model.
        resume: Continue an evaluation of the same settings that was stopped in `out`.
        progress: As for `unlearn`.
        reporter: As for `unlearn`.
        **settings: Settings of an evaluation, such as evaluate={"limit": 50} or text={"format": "plain"}.

    Returns:
        The scores, and access to the records.

    Raises:
        EffaceError: Something cannot be used; nothing was written.
    """
    with folder_for(out, resume=resume) as folder:
        inputs = Inputs(RunFolder(folder))
        values = {
            **inputs.model(model, tokenizer),
            "data": inputs.data(data, forget, retain),
            "plugins": plugins,
            **settings,
        }
        config = resolve_config(EvaluationConfig, settings=values)
        with inputs.written(config, resume=resume), reporting(reporter, inputs, progress=progress) as shown:
            found = evaluate_model(
                config,
                folder,
                data_dir=path_of(data_dir),
                before=before,
                resume=resume,
                reporter=shown,
            )
    done = Evaluated(folder.absolute(), found)
    if out is None:
        remove_with(done, folder)
    return done
