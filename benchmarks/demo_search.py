"""Search for the demo's settings: the same grid for every method, on authors of another seed than the demo's.

    python benchmarks/demo_search.py --seed 7 --methods me+gd,idk+ap,ga+gd,idk+gd \\
        --lr 2e-4,4e-4 --epochs 5,10 --forget-coeff 0.1,0.3,1 --out runs/demo-search

Makes the demo's target model for the seed once and prints one JSON line for each setting.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from pathlib import Path

from efface.commands.finetune import finetune
from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.resolve import resolve_config
from efface.data import load_training_set
from efface.demo import METHODS, write_base_model
from efface.evaluation.record_files import read_record_sets
from efface.run.pipeline import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--lr", required=True)
    parser.add_argument("--epochs", required=True)
    parser.add_argument("--forget-coeff", required=True)
    parser.add_argument("--limit", type=int, default=100, help="questions scored per set")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shared = [f"seed={options.seed}", f"data.author_seed={options.seed}", "device=cpu"]
    target = options.out / "target" / "model"
    if not target.is_dir():
        config = resolve_config(FinetuneConfig, "demo", [f"model={options.out / 'base'}", *shared])
        write_base_model(options.out / "base", load_training_set(config.data, data_dir=None), seed=options.seed)
        finetune(config, options.out / "target")
    grid = itertools.product(
        options.methods.split(","), options.lr.split(","), options.epochs.split(","), options.forget_coeff.split(",")
    )
    before = None
    for method, lr, epochs, coeff in grid:
        pairs = [f"train.lr={lr}", f"train.epochs={epochs}", f"forget_coeff={coeff}"]
        config = resolve_config(
            RunConfig,
            "demo",
            [f"model={target}", f"method={method}", f"evaluate.limit={options.limit}", *shared, *pairs],
        )
        folder = options.out / "run"
        shutil.rmtree(folder, ignore_errors=True)
        results = run(config, folder, before=before)
        before = before or read_record_sets(folder / "records" / "before")
        scores = {stage: getattr(results, stage).model_dump() for stage in ("before", "after")}
        print(json.dumps({"seed": options.seed, "method": method, "settings": pairs, **scores}), flush=True)


if __name__ == "__main__":
    main()
