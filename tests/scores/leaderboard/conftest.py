"""A folder of runs, evaluations, logs and other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efface.files.atomic import write_json
from efface.records import write_records
from efface.scores.inputs.from_tofu_log import SETS
from support.answered import Sets, answered, write_run
from support.run_fixtures import made  # noqa: F401


def _log_of(sets: Sets) -> dict[str, Any]:
    """The records as TOFU logs them: without cosine and label."""
    blocks = {name: block for block, name in SETS.items()}

    def loss(logprobs: list[float] | None) -> float:
        assert logprobs is not None
        return -sum(logprobs) / len(logprobs)

    return {
        blocks[name]: {
            "generated_text": {
                str(n): [f"[INST] {r.question} [/INST]", r.output, r.answer] for n, r in enumerate(rows)
            },
            "avg_gt_loss": {str(n): loss(r.answer_logprobs) for n, r in enumerate(rows)},
            "avg_paraphrased_loss": {str(n): loss(r.paraphrased_logprobs) for n, r in enumerate(rows)},
            "average_perturb_loss": {str(n): [loss(x) for x in r.perturbed_logprobs] for n, r in enumerate(rows)},
        }
        for name, rows in sets.items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, an evaluation and a log of the same questions; a run with other questions; other files."""
    root = tmp_path / "runs"
    write_run(root / "one", answered(1), answered(2))
    write_run(root / "deep" / "two", answered(1), answered(3), "npo+kl")
    for name, rows in answered(4).items():
        write_records(root / "evaluated" / "records" / f"{name}.jsonl", rows)
    (root / "evaluated" / "scores.json").write_text("{}")
    write_json(root / "log.json", _log_of(answered(5)))
    write_run(root / "other", answered(1, 9), answered(2, 9))
    (root / "table.json").write_text("{}")
    (root / "notes.json").write_text("[1]")
    (root / "unfinished").mkdir()
    for name in ("config.yaml", "manifest.json", "half.json"):
        (root / "unfinished" / name).touch()
    write_run(root / ".cache" / "one", answered(1), answered(2))
    (root / "damaged").mkdir()
    (root / "damaged" / "results.json").write_text("{")
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text("{}")
    (root / "model" / "model.safetensors").touch()
    return root
