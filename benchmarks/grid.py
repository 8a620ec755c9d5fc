"""Try settings of a preset, several runs at once, and print one JSON line for each.

    python benchmarks/grid.py tofu-forget05 --methods me+gd,idk+ap --set model=runs/target/model \\
        --grid train.lr=1e-5,3e-5,1e-4 --grid forget_coeff=0.1,1 --workers 2 --out runs/grid

Every method gets the same grid. A run that is already complete in --out is read, not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def points(grids: list[str]) -> list[list[str]]:
    """All combinations of `key=a,b,c` as lists of `key=value`."""
    axes = []
    for grid in grids:
        key, _, values = grid.partition("=")
        axes.append([f"{key}={value}" for value in values.split(",")])
    return [list(point) for point in itertools.product(*axes)]


def run(preset: str, pairs: list[str], folder: Path) -> dict[str, object]:
    """One `efface run`; its scores, or the last line of its error."""
    results = folder / "results.json"
    if not results.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "efface", "run", preset, *pairs, "--out", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"settings": pairs, "error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        shutil.rmtree(folder / "model")  # the scores are what is wanted
    before, after = (json.loads(results.read_text())[stage] for stage in ("before", "after"))
    return {"settings": pairs, "before": _short(before), "after": _short(after)}


def _short(scores: dict) -> dict[str, object]:
    aggregates = ("model_utility", "model_utility_retain", "forget_efficacy")
    use = scores if scores["model_utility"] is not None else scores["partial"]
    sets = {name: {k: round(v, 4) for k, v in row.items() if v is not None} for name, row in scores["sets"].items()}
    return {**{name: None if use[name] is None else round(use[name], 4) for name in aggregates}, "sets": sets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--methods", required=True)
    parser.add_argument("--set", action="append", default=[], dest="fixed")
    parser.add_argument("--grid", action="append", default=[])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    jobs = []
    for method in options.methods.split(","):
        for point in points(options.grid):
            pairs = [f"method={method}", *options.fixed, *point]
            name = "_".join(pair.replace("/", "-") for pair in (f"method={method}", *point))
            jobs.append((pairs, options.out / name))
    with ThreadPoolExecutor(options.workers) as pool:
        for result in pool.map(lambda job: run(options.preset, *job), jobs):
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
