"""`efface evaluate`: question one model as it is, and score it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from efface.artifacts import Record, Scores, write_json
from efface.data import load_task
from efface.evaluate.engine import evaluate
from efface.evaluate.folder import write_sets
from efface.evaluate.judges import open_judges
from efface.run.config import EvaluationConfig
from efface.run.folder import RunFolder
from efface.run.manifest import manifest
from efface.run.models import (
    device_for,
    evaluation_dtype,
    load_model,
    load_tokenizer,
    model_folder,
    model_sha256,
    peak_memory,
    reset_peak_memory,
)
from efface.run.quiet import quiet_libraries
from efface.run.reporter import Reporter, Silent
from efface.scores import score_records
from efface.text.forward import check_packing, position_limit
from efface.text.template import Formatter


@quiet_libraries()
def evaluate_model(
    config: EvaluationConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
    reporter: Reporter | None = None,
) -> Scores:
    """Score a model on the evaluation sets of its data; leaves records and scores.json in the folder `out`.

    `before`: records of the model before unlearning on the same questions, for the cosine similarity of the
    definition `paper`; None says that this is that model. Everything that can be refused is refused before
    anything is written. Raises `EffaceError` for settings, data or a model that cannot be used.
    """
    reporter = reporter or Silent()
    folder = RunFolder(out)
    folder.check(config, resume=False)
    device = device_for(config.device)
    reset_peak_memory(device)
    task = load_task(config.data, data_dir=data_dir)
    for text in task.warnings:
        reporter.warning(text)
    source = model_folder(config.model)
    dtype = evaluation_dtype(source, device)
    tokenizer = load_tokenizer(source)
    model = load_model(source, dtype=dtype, device=device)
    check_packing(model)
    formatter = Formatter(tokenizer, config.text, limit=position_limit(model))
    judges = open_judges(config.evaluate, device)
    for metric, why in judges.missing.items():
        reporter.warning(f"{metric} will be missing: {why}")
    made = manifest(
        seed=0,  # nothing is drawn: decoding is greedy
        device=device,
        precision=f"evaluation {str(dtype).removeprefix('torch.')}",
        data=task.sources,
        model=config.model,
        model_sha256=model_sha256(source),
    )
    reporter.stage(f"evaluating {config.model}")
    records = evaluate(
        model,
        formatter,
        task.evaluation,
        config=config.evaluate,
        judges=judges,
        before=before,
        progress=reporter.scored,
    )
    scores = score_records(records, config.definition)
    made.peak_memory_bytes = peak_memory(device)
    folder.start(config, made)
    write_sets(out / "records", records)
    write_json(out / "scores.json", {"schema": 1, "definition": config.definition, **scores.model_dump()})
    return scores
