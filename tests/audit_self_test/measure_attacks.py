"""The audit is audited: models that know, that hide what they know, that never knew, and that learned other facts.

    python tests/audit_self_test/measure_attacks.py --size tiny --seeds 3 --out build/audit-self-test.json

Of every attack and number: faithfulness, the AUC for telling models with the facts from those without, and robustness,
how little it changes under 4-bit rounding and a little training (arXiv:2506.12618, in the symmetric form of
arXiv:2605.24614). Exits with 1 if a gate fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, get_args

import torch
from models_that_know import KINDS, Size, World, make_world, with_model

from efface.artifacts.audit import AuditResults
from efface.auditing.attack import Level
from efface.auditing.attacks.relearn_steps import relearn
from efface.auditing.audit import audit
from efface.auditing.config import AuditConfig
from efface.auditing.measures.round_to_nearest import round_model
from efface.config.parse import validate_config
from efface.schema import Item
from efface.scores.privacy_leakage import auc
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

POSITIVE, NEGATIVE = ("knows", "hidden"), ("never", "twin")
SHIFTS = ("nf4", "relearned")


def run_audit(run: Path, against: Path, level: str, out: Path, **settings: Any) -> AuditResults:
    """Audit a run's copy; nothing of the run is changed."""
    config = validate_config(AuditConfig, {"audit": {"level": level, "attacks": "both", **settings}, "device": "cpu"})
    return audit(config, run, against=against, out=out)


def numbers_of(results: AuditResults) -> dict[str, float]:
    """Every attack's rate, the union, and every number of the unlearned model."""
    found = {f"{name} rate": each.rate for name, each in results.attacks.items()}
    found["recoverable"] = results.recoverable.k / results.recoverable.n
    for attack, scalars in results.scalars.items():
        found |= {
            f"{attack} {name}": value
            for name, value in scalars.items()
            if "before" not in name and "control" not in name
        }
    return {name: value for name, value in found.items() if value is not None}


def shifted(model: Path, shift: str, retain: list[Item], out: Path) -> Path:
    """A copy of a model after 4-bit rounding, or after an epoch of training on the retain set."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    if shift == "nf4":
        round_model(loaded, "nf4")
    else:
        formatter = PromptFormatter(tokenizer, TextConfig(format="plain"))
        steps = max(1, len(retain) // 8)
        list(relearn(loaded, formatter, retain, lr=1e-4, batch_size=8, looks=(steps,), seed="self-test"))
    loaded.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def stability(before: float, after: float) -> float:
    """1 for equal numbers, 0 for a number that becomes or was 0: 1 - |a - b| / (|a| + |b|)."""
    total = abs(before) + abs(after)
    return 1.0 if total == 0 else 1 - abs(after - before) / total


def harmonic(values: list[float]) -> float:
    """The harmonic mean; 0 with a 0."""
    return 0.0 if min(values) <= 0 else len(values) / sum(1 / value for value in values)


def measure(size: Size, seeds: int, level: str, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Make all models, audit them, and compute everything."""
    worlds = [make_world(size, seed, folder / str(seed), say) for seed in range(seeds)]
    found: dict[str, list[AuditResults]] = {kind: [] for kind in KINDS}
    after_shift: dict[str, dict[str, list[AuditResults]]] = {shift: {"hidden": [], "never": []} for shift in SHIFTS}
    for number, world in enumerate(worlds):
        control = worlds[(number + 1) % seeds].never if seeds > 1 else world.never
        for kind in KINDS:
            say(f"seed {number}: auditing {kind}")
            found[kind].append(run_audit(world.runs[kind], control, level, world.folder / f"audit-{kind}"))
        for shift, of_kind in after_shift.items():
            for kind in of_kind:
                say(f"seed {number}: auditing {kind}, {shift}")
                run = _shifted_run(world, kind, shift)
                of_kind[kind].append(run_audit(run, control, level, world.folder / f"audit-{kind}-{shift}"))
    return {
        "size": size,
        "seeds": seeds,
        "level": level,
        "gates": gates(worlds, found, level),
        "numbers": table(found, after_shift),
        "headlines": {kind: [each.recoverable.model_dump() for each in results] for kind, results in found.items()},
    }


def _shifted_run(world: World, kind: str, shift: str) -> Path:
    model = shifted(world.runs[kind] / "model", shift, world.retain, world.folder / f"model-{kind}-{shift}")
    return with_model(world.runs["knows"], model, world.folder / f"run-{kind}-{shift}")


def table(
    found: dict[str, list[AuditResults]], after_shift: dict[str, dict[str, list[AuditResults]]]
) -> dict[str, dict[str, float | None]]:
    """Faithfulness and robustness of every attack and number that all models have."""
    by_kind = {kind: [numbers_of(each) for each in results] for kind, results in found.items()}
    names = set.intersection(*(set(each) for values in by_kind.values() for each in values))
    rows: dict[str, dict[str, float | None]] = {}
    for name in sorted(names):
        values = {kind: [each[name] for each in listed] for kind, listed in by_kind.items()}
        with_facts = [value for kind in POSITIVE for value in values[kind]]
        without = [value for kind in NEGATIVE for value in values[kind]]
        rows[name] = {
            "faithfulness": _two_sided(auc(without, with_facts)),
            **{kind: fmean(each) for kind, each in values.items()},
            **_robustness(name, values, after_shift),
        }
    return rows


def _robustness(
    name: str, values: dict[str, list[float]], after_shift: dict[str, dict[str, list[AuditResults]]]
) -> dict[str, float | None]:
    """How little it changes for models that hide, how equally for those that never knew, and their harmonic mean."""
    quotients, shifts = [], []
    for of_kind in after_shift.values():
        after = {kind: [numbers_of(each).get(name) for each in results] for kind, results in of_kind.items()}
        if any(value is None for listed in after.values() for value in listed):
            return {"stability": None, "equal_shift": None, "robustness": None}
        for number in range(len(values["hidden"])):
            hidden, never = values["hidden"][number], values["never"][number]
            hidden_after, never_after = float(after["hidden"][number] or 0), float(after["never"][number] or 0)
            quotients.append(stability(hidden, hidden_after))
            shifts.append(stability(hidden_after - hidden, never_after - never))
    stable, equal = fmean(quotients), fmean(shifts)
    return {"stability": stable, "equal_shift": equal, "robustness": harmonic([stable, equal])}


def _two_sided(value: float) -> float:
    """Distances are lower, and rates higher, for models with the facts: a number may point either way."""
    return max(value, 1 - value)


def gates(worlds: list[World], found: dict[str, list[AuditResults]], level: str) -> dict[str, bool]:
    """What must hold before a release."""
    found_by_weights = [
        max((each.rate or 0) for name, each in results.attacks.items() if each.tier == "weights" and each.in_union)
        for results in found["hidden"]
    ]
    holds_zero = [
        results.excess is not None and results.excess.interval[0] <= 0 <= results.excess.interval[1]
        for results in found["never"]
    ]
    return {
        "hidden is found by an attack on weights, for every seed": min(found_by_weights) >= 0.5,
        "the excess of a retrained model holds 0 for 9 of 10 seeds": sum(holds_zero) >= 0.9 * len(holds_zero),
        "a model that is unchanged gives everything": all(
            each.recoverable.k == each.recoverable.n for each in found["knows"]
        ),
        "batch size and threads change no hit": _invariant(worlds[0], level),
    }


def _invariant(world: World, level: str) -> bool:
    threads, hits = torch.get_num_threads(), []
    for number, count in enumerate((1, 2)):
        torch.set_num_threads(count)
        run = with_model(world.runs["hidden"], world.runs["hidden"] / "model", world.folder / f"run-batch-{number}")
        config = run / "config.yaml"
        small = "max_cache_tokens: 256" if number else "max_cache_tokens: null"
        config.write_text(config.read_text(encoding="utf-8").replace("max_cache_tokens: null", small), encoding="utf-8")
        out = world.folder / f"audit-batch-{number}"
        run_audit(run, world.never, level, out, attacks="ask-otherwise,first-words,sample,relearn")
        rows = [json.loads(line) for line in (out / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
        hits.append(
            {(row["model"], row["attack"], row["variant"], row["seed"], row["fact"]): row["hit"] for row in rows}
        )
    torch.set_num_threads(threads)
    return all(one == other for one, other in pairwise(hits))


def main() -> int:
    """Run everything, write the JSON file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=get_args(Size), default="demo")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--level", choices=get_args(Level), default="quick")
    parser.add_argument("--out", type=Path, default=Path("build/audit-self-test.json"))
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        result = measure(
            arguments.size, arguments.seeds, arguments.level, Path(folder), lambda text: print(text, file=sys.stderr)
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, row in sorted(result["numbers"].items(), key=lambda each: -(each[1]["faithfulness"] or 0)):
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in row.items() if value is not None))
    for gate, holds in result["gates"].items():
        print(f"{'holds' if holds else 'FAILS'}: {gate}")
    return 0 if all(result["gates"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
