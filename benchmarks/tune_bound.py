"""Does the bound of `efface tune` hold on questions that the search never looked at?

python benchmarks/tune_bound.py --out build/tune-bound [--seeds 5] [--trials 4] [--keep 0.95]

For each seed, the demo's model learns other synthetic authors (5 instead of 20), and `efface tune` searches. Prints one
JSON object; what was done already in the folder is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch

import efface
from efface.demo import make_target
from efface.files.folders import TunePaths
from efface.progress.reporter import SilentReporter
from efface.tuning.request import tuning_of
from efface.tuning.search import tune

AUTHORS = ("data.authors=5", "data.forget_authors=1", "device=cpu")
EPOCHS = "train.epochs=8"
"""From which the search starts; the demo's 20 take more than twice the time."""


def measure(folder: Path, *, seed: int, keep: float, trials: int) -> dict[str, object]:
    """Search with one seed.

    Args:
        folder: Of this seed.
        seed: Of the authors, the weights, training and the search.
        keep: The bound.
        trials: Of the search.
    """
    pairs = [f"seed={seed}", f"data.author_seed={seed}", *AUTHORS]
    target = make_target(folder / "target", pairs, reporter=SilentReporter())
    out = folder / f"keep-{keep:g}"
    start = time.process_time()
    tuning = tuning_of("demo", [*pairs, EPOCHS, f"model={target}"], keep=keep, trials=trials)
    results = tune(tuning, out, resume=TunePaths(out).search_settings.is_file())
    found = results.tune
    assert found is not None
    chosen = next(each for each in found.trials if each.number == found.chosen)
    assert chosen.full is not None
    return {
        "seed": seed,
        "held_in_search": found.held,
        "kept_on_searched": round(chosen.full.kept, 4),
        "kept_at_least": round(chosen.full.kept_at_least, 4),
        "kept_on_reported": round(found.kept, 4),
        "holds_on_reported": found.kept >= keep,
        "forget_efficacy": [results.before.forget_efficacy, results.after.forget_efficacy],
        "model_utility": [results.before.model_utility, results.after.model_utility],
        "epoch": chosen.full.epoch,
        "settings": chosen.settings,
        "processor_seconds": round(time.process_time() - start, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--keep", type=float, default=0.95)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows = []
    for seed in range(options.seeds):
        rows.append(measure(options.out / f"seed-{seed}", seed=seed, keep=options.keep, trials=options.trials))
        print(json.dumps(rows[-1]), flush=True)
    versions = {"efface": efface.__version__, "torch": torch.__version__}
    print(json.dumps({"keep": options.keep, "trials": options.trials, **versions, "seeds": rows}, indent=2))


if __name__ == "__main__":
    main()
