"""`efface downstream`: score one model on tasks of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path

from efface.artifacts import Downstream
from efface.config.commands import DownstreamRunConfig
from efface.downstream.harness import check_template
from efface.downstream.tasks import check_tasks, task_files
from efface.files.atomic import write_json
from efface.hardware.device import device_for, peak_memory, reset_peak_memory
from efface.models.dtypes import dtype_name, evaluation_dtype
from efface.models.folder import model_folder, model_sha256
from efface.models.load import load_model
from efface.models.tokenizer import model_tokenizer
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.downstream_stages import score_model
from efface.run.folder import RunFolder, claims_folder
from efface.run.metadata.manifest import make_manifest
from efface.run.metadata.metadata import RunMetadata


@quiet_libraries()
@claims_folder(RunFolder)
def downstream_model(config: DownstreamRunConfig, out: Path, reporter: Reporter | None = None) -> Downstream:
    """Score a saved model; writes downstream.json, config.yaml and manifest.json to the folder `out`.

    Nothing is written before all tasks are scored.

    Args:
        config: The settings.
        out: The folder to write, new or empty.
        reporter: Gets the stage, progress and warnings.

    Raises:
        EffaceError: Settings, tasks, their data or the model cannot be used.
    """
    reporter, folder = reporter or SilentReporter(), RunFolder(out)
    folder.check(config, resume=False)
    check_tasks(config.downstream)
    device = device_for(config.device)
    reset_peak_memory(device)
    source = model_folder(config.model)
    loaded, dtype = model_tokenizer(source, config.tokenizer), evaluation_dtype(source, device)
    check_template(config.downstream, loaded.tokenizer)
    manifest = make_manifest(
        seed=config.seed,
        device=device,
        precision=f"evaluation {dtype_name(dtype)}",
        data={},
        tasks=task_files(config.downstream),
        model=config.model,
        model_sha256=model_sha256(source),
        tokenizer=loaded.named,
        text=config.text.recorded(shows_date=True) if config.downstream.chat_template else None,
    )
    model = load_model(source, dtype=dtype, device=device)
    reporter.on_stage(f"scoring downstream tasks of {config.model}")
    scores = score_model(
        model, loaded.tokenizer, config.downstream, text=config.text, seed=config.seed, reporter=reporter
    )
    metadata = RunMetadata(folder, config, manifest)
    metadata.set_peak_memory(peak_memory(device))
    metadata.start()
    write_json(folder.downstream(), scores.to_json())
    return scores
