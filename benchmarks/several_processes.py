#!/usr/bin/env python3
"""Training split over processes of torchrun; `scaling.py` runs this script.

torchrun --standalone --nproc-per-node 2 benchmarks/several_processes.py tiny idk+ap --items 32
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

import measure as measuring
from efface import distributed
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.train.batches.micro_batches import count_tokens
from efface.train.batches.schedule import Schedule
from efface.train.config import TrainConfig
from efface.train.loop import Trainer
from efface.train.step_log import StepLog
from measure import Setting
from shapes import SHAPES, build_model
from workload import load_workload

_WARM_UP = 2


def measure_processes(setting: Setting, count: int, items: int) -> dict[str, Any]:
    """Seconds of a step that `count` processes of one thread share, and the highest peak memory of them."""
    shape = next(name for name, shape in SHAPES.items() if shape == setting.shape)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), __file__, shape]
    options = [setting.method, "--items", str(items), "--repeats", str(setting.repeats), "--device", setting.device]
    done = subprocess.run(
        [sys.executable, *command, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def main() -> None:
    """In each process: train; rank 0 prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("method")
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    distributed.init_process_group(options.device)
    device = torch.device(options.device, distributed.local_rank()) if options.device == "cuda" else torch.device("cpu")
    bound = objective(options.method, ObjectiveConfig())
    examples = load_workload(bound.views, items=options.items, tokenizer=None).examples
    before = measuring.peak_resident()
    model = build_model(SHAPES[options.shape], seed=0, dtype=torch.float32, device=device)
    count = _WARM_UP + options.repeats
    logs: list[StepLog] = []
    with tempfile.TemporaryDirectory(prefix="efface-") as folder:
        config = TrainConfig(save_steps=count + 1)
        trainer = Trainer(model, bound, config, Schedule(count, 0, count), seed=0, folder=Path(folder))
        trainer.run([list(examples)] * count, Reference(), on_step=logs.append)
    peak = torch.cuda.max_memory_allocated() if options.device == "cuda" else measuring.peak_resident() - before
    row = {
        "seconds": median(log.seconds for log in logs[_WARM_UP:]),
        "peak_bytes": max(distributed.all_gather(peak)),
        "tokens": sum(map(count_tokens, examples)),
        "threads": torch.get_num_threads(),
    }
    if distributed.is_main_process():
        print(json.dumps(row))


if __name__ == "__main__":
    main()
