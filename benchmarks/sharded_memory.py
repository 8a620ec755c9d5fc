#!/usr/bin/env python3
"""Peak memory of each process of a sharded run, by phase, against a run of one process with the same results.

python benchmarks/sharded_memory.py                      # 302 M random weights, 1, 2 and 4 processes: about 10 GB
python benchmarks/sharded_memory.py --shape tiny --json  # one JSON object
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import versions
from shapes import SHAPES

PHASES = ("loading", "evaluation", "training", "saving", "evaluation after")
_SLACK = 0.15
"""A process of N may take 1/N plus so much of what the only process takes."""
_VOCABULARY = 4096
_ITEMS = 6


def main() -> None:
    """Run one process, then several, and compare them; a worker or the maker of the model is this script, too."""
    options = _parser().parse_args()
    if options.make is not None:
        _make_model(options.shape, options.make)
    elif options.worker is not None:
        _work(options.worker, options.model)
    else:
        with tempfile.TemporaryDirectory(prefix="efface-", dir=options.folder) as folder:
            report = measure(options.shape, options.processes, Path(folder))
        print(json.dumps(report, indent=2) if options.json else _table(report))
        sys.exit(not all(row["within"] for row in report["rows"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="300m")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], help="numbers of processes besides one")
    parser.add_argument("--folder", type=Path, help="where models and runs are written; by default the system's")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    return parser


def measure(shape: str, processes: list[int], folder: Path) -> dict[str, Any]:
    """The memory of each number of processes, and how far losses and outputs differ from those of one process.

    Args:
        shape: Name of the model's sizes.
        processes: Numbers of processes besides one.
        folder: Gets the model and the runs, which are removed one after another.

    Returns:
        What `--json` prints.
    """
    model = folder / "model"
    _call([sys.executable, __file__, "--shape", shape, "--make", str(model)])
    runs = {count: _run(count, model, folder / f"run-{count}") for count in (1, *processes)}
    alone = runs[1]
    rows = []
    for count in processes:
        several = runs[count]
        for phase in PHASES:
            ratio = max(several["bytes"][phase]) / max(alone["bytes"][phase])
            rows.append(
                {
                    "processes": count,
                    "phase": phase,
                    "bytes_alone": max(alone["bytes"][phase]),
                    "bytes_each": several["bytes"][phase],
                    "ratio": round(ratio, 3),
                    "limit": round(1 / count + _SLACK, 3),
                    "within": ratio <= 1 / count + _SLACK,
                }
            )
    return {
        "shape": shape,
        "versions": versions(),
        "rows": rows,
        "loss_difference": {count: _loss_difference(alone["losses"], runs[count]["losses"]) for count in processes},
        "outputs_that_differ": {
            count: sum(one != other for one, other in zip(alone["outputs"], runs[count]["outputs"], strict=True))
            for count in processes
        },
        "outputs": len(alone["outputs"]),
    }


def _run(count: int, model: Path, out: Path) -> dict[str, Any]:
    """One run of `count` processes: bytes of each by phase, losses by step, and all outputs before unlearning."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    _call([sys.executable, *launcher, __file__, "--worker", str(out), "--model", str(model)])
    peaks = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.parent.glob(f"{out.name}-rank-*.json"))
    ]
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = sorted((out / "records" / "before").glob("*.jsonl"))
    (out / "model" / "model.safetensors").unlink()
    return {
        "bytes": {phase: [peak[phase] for peak in peaks] for phase in PHASES},
        "losses": [json.loads(line)["loss"] for line in lines],
        "outputs": [
            json.loads(line)["output"] for path in records for line in path.read_text(encoding="utf-8").splitlines()
        ],
    }


def _call(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr[-4000:])


def _make_model(shape: str, folder: Path) -> None:
    import torch

    from efface.config.parse import validate_config
    from efface.data import load_task
    from efface.data.config import DataConfig
    from shapes import build_model
    from workload import train_tokenizer

    model = build_model(SHAPES[shape], seed=0, dtype=torch.float32, device=torch.device("cpu"))
    model.save_pretrained(folder)
    task = load_task(
        validate_config(DataConfig, {"source": "synthetic-authors", "authors": 2, "forget_authors": 1}), data_dir=None
    )
    train_tokenizer(task, _VOCABULARY).save_pretrained(folder)
    for name, items in (("forget", task.forget), ("retain", task.retain)):
        rows = [json.dumps({"question": item.question, "answer": item.answer}) for item in items[:_ITEMS]]
        (folder.parent / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _settings(model: Path) -> dict[str, Any]:
    return {
        "data": {"forget": str(model.parent / "forget.jsonl"), "retain": str(model.parent / "retain.jsonl")},
        "method": "npo+kl",
        "model": str(model),
        "device": "cpu",
        "text": {"format": "plain"},
        "train": {
            "epochs": 1,
            "batch_size": 2,
            "lr": 1e-5,
            "sharding": "fsdp2",
            "optimizer": "adamw",
            "save_steps": 2,
            "max_tokens_per_forward": 512,
            "gradient_checkpointing": False,
        },
        "evaluate": {
            "sharding": "fsdp2",
            "max_new_tokens": 4,
            "limit": 2,
            "embedder": "none",
            "judge": "key-facts",
            "max_cache_tokens": 512,
            "max_tokens_per_forward": 512,
        },
    }


def _work(out: Path, model: Path) -> None:
    """In each process: a whole run; writes the bytes by phase."""
    # what a run imports while it works, so that it counts as libraries and not as memory of the run
    import accelerate  # noqa: F401
    import torch.distributed.checkpoint
    import torch.distributed.fsdp  # noqa: F401
    from transformers import LlamaForCausalLM  # noqa: F401

    from efface import distributed
    from efface.config.commands import RunConfig
    from efface.config.parse import validate_config
    from efface.progress.reporter import SilentReporter
    from efface.run.pipeline import run

    distributed.init_process_group("cpu")
    libraries = _resident("VmRSS")

    class Phases(SilentReporter):
        """Reads the peak at the end of each phase."""

        def __init__(self) -> None:
            self.peaks: dict[str, int] = {}
            self._left = iter(PHASES)
            _reset_peak()

        def end_phase(self) -> None:
            self.peaks[next(self._left)] = _resident("VmHWM") - libraries
            _reset_peak()

        def on_stage(self, text: str) -> None:
            if text.startswith(("evaluating", "unlearning")):
                self.end_phase()

        def on_step(self, log: Any) -> None:
            if log.step == log.steps:
                self.end_phase()

    phases = Phases()
    run(validate_config(RunConfig, _settings(model)), out, reporter=phases)
    phases.end_phase()
    path = out.parent / f"{out.name}-rank-{distributed.rank()}.json"
    path.write_text(json.dumps(phases.peaks), encoding="utf-8")


def _resident(key: str) -> int:
    """Bytes of a line of /proc/self/status: VmRSS now, VmHWM the peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _loss_difference(alone: list[float], several: list[float]) -> float:
    """The largest relative difference of a step's loss."""
    return max(abs(one - other) / max(abs(one), 1e-12) for one, other in zip(alone, several, strict=True))


def _table(report: dict[str, Any]) -> str:
    lines = [f"{'processes':>9} {'phase':<17} {'alone':>9} {'each, at most':>14} {'ratio':>6} {'limit':>6}"]
    lines += [
        f"{row['processes']:>9} {row['phase']:<17} {row['bytes_alone'] / 2**20:>5.0f} MiB "
        f"{max(row['bytes_each']) / 2**20:>10.0f} MiB {row['ratio']:>6.3f} {row['limit']:>6.3f}"
        f"{'' if row['within'] else '  above'}"
        for row in report["rows"]
    ]
    lines += [
        f"{count} processes: losses differ by {difference:.1e} at most, relatively; "
        f"{report['outputs_that_differ'][count]} of {report['outputs']} outputs differ"
        for count, difference in report["loss_difference"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
