"""The audit is audited: models that know, that hide what they know, that never knew, and that learned other facts.

    python tests/audit_self_test/measure_attacks.py --size tiny --seeds 3 --out build/audit-self-test.json

Of every attack and number: faithfulness, the AUC for telling models with the facts from those without, and robustness,
how little it changes under 4-bit rounding and a little training (arXiv:2506.12618, in the symmetric form of
arXiv:2605.24614). A seed that is in the file is not measured again, and a seed that was interrupted is continued.
Exits with 1 if a gate fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import torch
from models_that_know import KINDS, Size, World, make_world, with_model
from numbers_of_attacks import SHIFTS, gates, outcome_of, table

from efface.artifacts.audit import AuditResults
from efface.auditing.attack import Level
from efface.auditing.attacks.relearn_steps import relearn
from efface.auditing.audit import audit
from efface.auditing.config import AuditConfig
from efface.auditing.measures.round_to_nearest import round_model
from efface.config.parse import validate_config
from efface.files.atomic import write_json
from efface.files.folders import AUDIT_ROWS
from efface.schema import Item
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

_NUMBERS, _AT_FULL = "lens,membership", "lens,membership,perturb"
"""Attacks that run at `full` beside the level that is asked for; after a shift without `perturb`, itself a shift."""
_AT_LEVEL = "weights,static"
"""Not `both-models`, which finds what the model before knows, nor `at-retention`, which compares methods."""
_FIRST = "hidden"
"""The kind that is audited first, and leaves the rows of the control to the other audits of its seed."""


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def run_audit(run: Path, against: Path, level: str, out: Path, **settings: Any) -> AuditResults:
    """Audit a run's copy; nothing of the run is changed."""
    config = validate_config(AuditConfig, {"audit": {"level": level, **settings}, "device": "cpu"})
    return audit(config, run, against=against, out=out)


def audits_of(world: World, run: Path, name: str, level: str, also: str) -> tuple[AuditResults, ...]:
    """The audit of a run at a level, and at `full` that of some more attacks; once made, they are read."""
    wanted = [(level, _AT_LEVEL)] if level == "full" else [(level, _AT_LEVEL), ("full", also)]
    found = []
    for each, attacks in wanted:
        out, first = world.folder / f"audit-{each}-{name}", world.folder / f"audit-{each}-{_FIRST}" / AUDIT_ROWS
        results = out / "results.json"
        if not results.is_file():
            if first.is_file() and not out.is_dir():
                out.mkdir()
                shutil.copy(first, out)
            run_audit(run, world.control, each, out, attacks=attacks)
        found.append(AuditResults.model_validate_json(results.read_bytes()))
    return tuple(found)


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


def measure_kinds(world: World, level: str) -> dict[str, Any]:
    """Audit each model of a seed."""
    kinds = {}
    for kind in sorted(KINDS, key=lambda each: each != _FIRST):
        say(f"{world.folder}: auditing {kind}")
        kinds[kind] = outcome_of(audits_of(world, world.runs[kind], kind, level, _AT_FULL))
    return kinds


def measure_shifts(world: World, level: str) -> dict[str, Any]:
    """Audit the models that hide and that never knew once more after each shift."""
    shifts: dict[str, dict[str, Any]] = {shift: {} for shift in SHIFTS}
    for shift, of_kind in shifts.items():
        for kind in ("hidden", "never"):
            say(f"{world.folder}: auditing {kind}, {shift}")
            name = f"{kind}-{shift}"
            model = shifted(world.runs[kind] / "model", shift, world.retain, world.folder / f"model-{name}")
            run = with_model(world.runs["hidden"], model, world.folder / f"run-{name}")
            of_kind[kind] = outcome_of(audits_of(world, run, name, level, _NUMBERS))
    return shifts


def is_invariant(world: World, level: str) -> bool:
    """Whether the number of threads and the size of batches change no hit."""
    say(f"{world.folder}: another batch size and number of threads")
    threads, hits = torch.get_num_threads(), []
    for number, count in enumerate((1, 2)):
        torch.set_num_threads(count)
        run = with_model(world.runs["hidden"], world.runs["hidden"] / "model", world.folder / f"run-batch-{number}")
        config = run / "config.yaml"
        small = "max_cache_tokens: 2048" if number else "max_cache_tokens: null"
        config.write_text(config.read_text(encoding="utf-8").replace("max_cache_tokens: null", small), encoding="utf-8")
        out = world.folder / f"audit-batch-{number}"
        run_audit(run, world.control, level, out, attacks="ask-otherwise,first-words,sample,relearn")
        rows = [json.loads(line) for line in (out / AUDIT_ROWS).read_text(encoding="utf-8").splitlines()]
        hits.append(
            {(row["model"], row["attack"], row["variant"], row["seed"], row["fact"]): row["hit"] for row in rows}
        )
    torch.set_num_threads(threads)
    return all(one == other for one, other in pairwise(hits))


def measure(size: Size, seeds: int, level: str, *, work: Path, out: Path) -> dict[str, Any]:
    """Measure what the file does not have yet: the models of all seeds, then shifts, then other batches and threads.

    The file is written after each part.
    """
    head = {"size": size, "level": level}
    stored = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {**head, "seeds": {}}
    if {key: stored[key] for key in head} != head:
        raise SystemExit(f"{out} is of size {stored['size']} and level {stored['level']}; give another --out")
    measured: dict[str, Any] = stored["seeds"]

    def world(seed: str) -> World:
        return make_world(size, int(seed), work / seed, say)

    def write() -> None:
        listed = [each for each in measured.values() if "kinds" in each]
        stored.update(gates=gates(listed, invariant=stored.get("invariant")), numbers=table(listed))
        write_json(out, stored)

    for part, measure_part in (("kinds", measure_kinds), ("shifts", measure_shifts)):
        for seed in map(str, range(seeds)):
            if part not in measured.setdefault(seed, {}):
                measured[seed][part] = measure_part(world(seed), level)
                write()
    if "invariant" not in stored:
        stored["invariant"] = is_invariant(world("0"), level)
    write()
    return stored


def main() -> int:
    """Run what is missing, write the JSON file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=get_args(Size), default="demo")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--level", choices=get_args(Level), default="quick")
    parser.add_argument("--work", type=Path, default=Path("build/audit-self-test"), help="models and audits")
    parser.add_argument("--out", type=Path, default=Path("build/audit-self-test.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    result = measure(
        arguments.size, arguments.seeds, arguments.level, work=arguments.work / arguments.size, out=arguments.out
    )
    for name, row in sorted(result["numbers"].items(), key=lambda each: -(each[1]["faithfulness"] or 0)):
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in row.items() if value is not None))
    for gate, holds in result["gates"].items():
        print(f"{'holds' if holds else 'FAILS'}: {gate}")
    return 0 if all(result["gates"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
