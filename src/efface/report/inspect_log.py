"""The records of a run as logs of inspect_ai, so that its viewer opens them. No torch.

The format is that of `EvalLog`, version 2, in JSON: https://inspect.aisi.org.uk/eval-logs.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from efface.artifacts import METRICS, Scores
from efface.report.page.load_run import ReportRun
from efface.report.page.questions.answered import Answered
from efface.report.page.questions.question_outcomes import verdicts_by_set
from efface.report.paths import shorten_paths
from efface.scores.sets import sort_names

_UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)


def inspect_logs(run: ReportRun, name: str) -> dict[str, dict[str, Any]]:
    """Convert a run, a queue of requests or an evaluation.

    Args:
        run: The run.
        name: Its name, which becomes that of the task.

    Returns:
        File name -> log: one for the model before unlearning and one for the model after it, or one for the evaluation.
        The viewer lists files whose names start with a time.
    """
    started = _started(run)
    logs = {}
    for stage, scores in (("before", run.before), ("after", run.after)):
        if run.answered.get(stage):
            label = "evaluation" if run.kind == "evaluation" else stage
            task = f"{name} {label}"
            file = f"{started:%Y-%m-%dT%H-%M-%S}+00-00_{_plain(task)[:100]}_{_id(task)[:8]}.json"
            logs[file] = _log(run, stage, task, started.isoformat(timespec="seconds"), scores)
    return logs


def _started(run: ReportRun) -> datetime:
    """When a run was started, in UTC; its manifest may be a stranger's, and the time becomes part of a file's name."""
    try:
        started = None if run.manifest is None else datetime.fromisoformat(run.manifest.started).astimezone(UTC)
    except (ValueError, OverflowError):
        started = None
    return started or _UNKNOWN_TIME


def _log(run: ReportRun, stage: str, task: str, started: str, scores: Scores | None) -> dict[str, Any]:
    rows = [(name, each) for name in sort_names(run.answered[stage]) for each in run.answered[stage][name]]
    manifest = run.manifest
    model = "unknown" if manifest is None else shorten_paths(manifest.model)
    model = f"{model} after {run.method}" if stage == "after" and run.method else model
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": _id(task + started),
            "run_id": _id(started),
            "created": started,
            "task": task,
            "task_id": _id(task),
            "task_version": 0,
            "dataset": {"name": task, "samples": len(rows), "sample_ids": [_sample_id(*row) for row in rows]},
            "model": model,
            "config": {},
            "packages": {"efface": "" if manifest is None else manifest.efface},
            "metadata": {"definition": run.definition, "method": run.method},
        },
        "plan": {"name": "efface", "steps": [], "config": {}},
        "results": {"total_samples": len(rows), "completed_samples": len(rows), "scores": list(_means(scores))},
        "stats": {"started_at": started, "completed_at": started, "model_usage": {}},
        "samples": list(_samples(run, stage, rows, model)),
    }


def _means(scores: Scores | None) -> Iterator[dict[str, Any]]:
    """Each metric with its mean over each set."""
    for metric in METRICS if scores is not None else ():
        assert scores is not None
        values = {name: getattr(each, metric) for name, each in scores.sets.items()}
        metrics = {name: {"name": name, "value": value} for name, value in values.items() if value is not None}
        if metrics:
            yield {"name": metric, "scorer": metric, "params": {}, "metrics": metrics}


def _samples(run: ReportRun, stage: str, rows: Sequence[tuple[str, Answered]], model: str) -> Iterator[dict[str, Any]]:
    verdicts = verdicts_by_set(run)
    for set_name, row in rows:
        scores: dict[str, Any] = {
            metric: {"value": value, "answer": row.output}
            for metric, value in zip(METRICS, row.scores, strict=True)
            if value is not None
        }
        if stage == "after":
            scores["outcome"] = {"value": verdicts[set_name][row.id] or "unknown", "answer": row.output}
        reply = {"role": "assistant", "content": row.output, "source": "generate"}
        yield {
            "id": _sample_id(set_name, row),
            "epoch": 1,
            "input": row.question,
            "target": row.answer,
            "messages": [{"role": "user", "content": row.question, "source": "input"}, reply],
            "output": {"model": model, "choices": [{"message": reply, "stop_reason": "stop"}]},
            "scores": scores,
            "metadata": {"set": set_name, "answer_type": row.judged.type},
        }


def _sample_id(set_name: str, row: Answered) -> str:
    return row.id if row.id.startswith(f"{set_name}/") else f"{set_name}/{row.id}"


def _plain(text: str) -> str:
    return "".join(each if each.isascii() and each.isalnum() else "-" for each in text)


def _id(text: str) -> str:
    """An id that is the same whenever the run is exported again."""
    return hashlib.sha256(text.encode()).hexdigest()[:22]
