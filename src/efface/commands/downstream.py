"""`efface downstream`: score one model as it is on tasks of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path

from efface.artifacts import Downstream
from efface.atomic import write_json
from efface.config.commands import DownstreamRunConfig
from efface.downstream.harness import score_downstream
from efface.downstream.tasks import check_tasks, task_files
from efface.hardware.device import device_for, peak_memory, reset_peak_memory
from efface.models.dtypes import dtype_name, evaluation_dtype
from efface.models.folder import model_folder, model_sha256
from efface.models.load import load_model, load_tokenizer
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.folder import RunFolder
from efface.run.manifest import make_manifest


@quiet_libraries()
def downstream_model(config: DownstreamRunConfig, out: Path, reporter: Reporter | None = None) -> Downstream:
    """Score a saved model; leaves downstream.json, config.yaml and manifest.json in the folder `out`.

    Nothing is written before all tasks are scored. Raises `EffaceError` for settings, tasks, data or a model that
    cannot be used.
    """
    reporter, folder = reporter or SilentReporter(), RunFolder(out)
    folder.check(config, resume=False)
    check_tasks(config.downstream)
    device = device_for(config.device)
    reset_peak_memory(device)
    source = model_folder(config.model)
    tokenizer, dtype = load_tokenizer(source), evaluation_dtype(source, device)
    made = make_manifest(
        seed=config.seed,
        device=device,
        precision=f"evaluation {dtype_name(dtype)}",
        data={},
        tasks=task_files(config.downstream),
        model=config.model,
        model_sha256=model_sha256(source),
    )
    model = load_model(source, dtype=dtype, device=device)
    reporter.on_stage(f"scoring downstream tasks of {config.model}")
    scores = score_downstream(
        model, tokenizer, config.downstream, seed=config.seed, progress=reporter.on_progress, warn=reporter.on_warning
    )
    made.peak_memory_bytes = peak_memory(device)
    folder.start(config, made)
    write_json(folder.downstream(), scores.to_json())
    return scores
