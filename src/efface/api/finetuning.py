"""`efface.finetune`: the command `efface finetune` as a function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from efface.api.common import Data, File, StrPath, folder_for, path_of, reporting
from efface.api.inputs import Inputs
from efface.commands.finetune import finetune as run_finetune
from efface.config.commands import FinetuneConfig
from efface.config.resolve import resolve_config
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def finetune(
    model: StrPath | PreTrainedModel,
    *,
    out: StrPath,
    forget: File | None = None,
    retain: File | None = None,
    data: Data | None = None,
    without: str | None = None,
    tokenizer: PreTrainedTokenizerBase | StrPath | None = None,
    data_dir: StrPath | None = None,
    resume: bool = False,
    progress: bool = True,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Path:
    """Fine-tune a model on the forget set and the retain set, as `efface finetune` does: a target to unlearn from.

        target = efface.finetune("path/to/base", forget="forget.csv", retain="retain.csv", out="runs/target")
        done = efface.unlearn(target, forget="forget.csv", retain="retain.csv", method="me+gd", out="runs/first")

    Args:
        model: As for `unlearn`.
        out: The folder to write, new or empty.
        forget: As for `unlearn`.
        retain: As for `unlearn`, except "model-answers".
        data: As for `unlearn`.
        without: Leave out the forget set, for a model that never saw it: `forget`, or forget01, forget05 or forget10
            of TOFU.
        tokenizer: As for `unlearn`.
        data_dir: As for `unlearn`.
        resume: Continue a fine-tuning of the same settings that was stopped in `out`.
        progress: As for `unlearn`.
        reporter: As for `unlearn`.
        **settings: Settings of a fine-tuning, such as train={"lr": 1e-4, "epochs": 5} or text={"format": "plain"}.

    Returns:
        The folder of the fine-tuned model, `out`/model, which `unlearn` and transformers load.

    Raises:
        EffaceError: Something cannot be used (before anything is written), or training diverges.
    """
    with folder_for(out, resume=resume) as folder:
        inputs = Inputs(RunFolder(folder))
        values = {
            **inputs.model(model, tokenizer),
            "data": inputs.data(data, forget, retain),
            **({"without": without} if without is not None else {}),
            **settings,
        }
        config = resolve_config(FinetuneConfig, settings=values)
        with inputs.written(config, resume=resume), reporting(reporter, inputs, progress=progress) as shown:
            return run_finetune(config, folder, data_dir=path_of(data_dir), resume=resume, reporter=shown)
