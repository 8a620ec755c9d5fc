"""The audits of docs/audit.md on SmolLM2-135M: a target taught some of TOFU, a control, three methods, their audits.

python scripts/tofu_audit.py --model SmolLM2-135M-Instruct --tofu FOLDER --out runs/tofu-audit

Every part that is complete is skipped, so that the same command continues after an interruption. FOLDER has the JSON
files of TOFU, as `efface data fetch tofu` stores them. `scripts/audit_results.py gather` collects the results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

FORGET, RETAIN = 24, 48
"""Questions: the first ones of each file with short answers, which are about several authors."""
_MOST_WORDS = 16
"""Of an answer: on one core, long ones would take hours."""
_TRAIN = ("train.lr=2e-4", "train.batch_size=8", "train.precision=bf16")
_RUN = ("train.epochs=5", "data.retain_evaluation=24", "evaluate.embedder=none", "evaluate.max_new_tokens=40")
METHODS: dict[str, tuple[str, ...]] = {
    "me+gd": ("forget_coeff=0.1",),
    "idk+ap": ("forget_coeff=1",),
    "npo+gd": ("forget_coeff=0.2",),
}
"""Settings of each method. What trains is equal, so that the rows of the control serve all audits. NPO+GD with a
coefficient of 1 breaks the retain set."""


def write_data(tofu: Path, out: Path) -> list[str]:
    """Write the forget and the retain file, and return their settings."""
    out.mkdir(parents=True, exist_ok=True)
    settings = []
    for name, source, count in (("forget", "forget01", FORGET), ("retain", "retain", RETAIN)):
        lines = (tofu / f"{source}_perturbed.json").read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if len(row["answer"].split()) <= _MOST_WORDS][:count]
        kept = ("question", "answer", "paraphrased_question", "paraphrased_answer")
        texts = [{**{key: row[key] for key in kept}, "perturbed_answers": row["perturbed_answer"]} for row in rows]
        path = out / f"{name}.jsonl"
        path.write_text("".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
        settings.append(f"data.{name}={path}")
    return [*settings, "text.format=llama2"]


def efface(*arguments: str | Path) -> float:
    """Run a command of efface and return its seconds of processor time."""
    command = [sys.executable, "-m", "efface", *map(str, arguments)]
    print("$", shlex.join(["efface", *command[3:]]), flush=True)
    before = _children()
    subprocess.run(command, check=True)
    return _children() - before


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def train(model: str, data: list[str], out: Path) -> None:
    """Make the target, the control that never saw the forget set, and a run of each method."""
    for name, options in (("target", ()), ("retrained", ("--without", "forget"))):
        if not (out / name / "model").is_dir():
            resume = ("--resume",) if (out / name).is_dir() else ()
            efface(
                "finetune", f"model={model}", *data, *_TRAIN, "train.epochs=8", *options, *resume, "--out", out / name
            )
    for method, settings in METHODS.items():
        run = out / method
        if not (run / "results.json").is_file():
            resume = ("--resume",) if run.is_dir() else ()
            target = f"model={out / 'target' / 'model'}"
            efface("run", f"method={method}", target, *data, *_TRAIN, *_RUN, *settings, *resume, "--out", run)


def audit(out: Path) -> None:
    """Audit each run against the control, whose rows the first audit leaves to the others."""
    done: Path | None = None
    for method in METHODS:
        results, rows = out / method / "audit" / "results.json", out / method / "audit" / "rows.jsonl"
        if not results.is_file():
            if done is not None:
                rows.parent.mkdir(exist_ok=True)
                shutil.copy(done, rows)
            seconds = efface("audit", out / method, "--against", out / "retrained")
            (out / f"{method}.seconds").write_text(f"{seconds:.1f}\n", encoding="utf-8")
        done = done or rows


def main() -> None:
    """Make everything that is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tofu", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    train(arguments.model, write_data(arguments.tofu, arguments.out), arguments.out)
    audit(arguments.out)


if __name__ == "__main__":
    main()
