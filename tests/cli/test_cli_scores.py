"""The command score on good input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.artifacts import Record

Command = Callable[..., subprocess.CompletedProcess[str]]
RECORD = Record(
    set="forget",
    id="1",
    question="Where?",
    answer="Here.",
    output="There",
    output_token_ids=[1],
    answer_logprobs=[-1.0],
    paraphrased_logprobs=None,
    perturbed_logprobs=[],
    embedding_target="Here.",
    embedder=None,
    cosine_answer=None,
    cosine_before=None,
    entailment_target="Here.",
    entailment_premise="output",
    judge=None,
    entailment_label=None,
)


def scored(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object that stands on stdout."""
    assert ran.returncode == 0, ran
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def test_score_of_a_foreign_log(efface: Command, shared: Path) -> None:
    logs = shared / "golden" / "eval_logs"
    expected = json.loads((logs / "llama2-7b-full.expected.json").read_text())
    arguments = ["--definition", "tofu", "--against", str(logs / "llama2-7b-retain90.json"), "--json"]
    scores = scored(efface("score", str(logs / "llama2-7b-full.json"), *arguments))
    assert scores["definition"] == "tofu"
    assert scores["model_utility"] == pytest.approx(expected["tofu_model_utility_geometric"], rel=1e-9)
    assert set(scores["forget_quality"]) == {"p_value", "statistic"}


def log_of(place: Path, name: str, questions: int) -> str:
    block = {
        "avg_gt_loss": [0.1] * questions,
        "avg_paraphrased_loss": [0.2] * questions,
        "average_perturb_loss": [[1.0 + n, 2.0] for n in range(questions)],
    }
    path = place / name
    path.write_text(json.dumps({"eval_log_forget.json": block}))
    return str(path)


def test_warning_is_a_clean_line_beside_the_json(efface: Command, tmp_path: Path) -> None:
    ran = efface("score", log_of(tmp_path, "a", 3), "--against", log_of(tmp_path, "b", 2), "--json")
    assert scored(ran)["forget_quality"]["p_value"] > 0
    assert ran.stderr == (
        "efface: warning: forget quality compares 3 questions with 2 of the retrained model; "
        "it means something only for the same questions\n"
    )


def test_score_without_json_is_a_table(efface: Command, tmp_path: Path) -> None:
    log = log_of(tmp_path, "a", 3)
    ran = efface("score", log, "--against", log)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Metrics by set" in ran.stdout
    assert "forget (3)" in ran.stdout
    assert "Forget quality: p = 1 " in ran.stdout


def test_own_metric_of_a_plug_in(efface: Command, tmp_path: Path) -> None:
    code = """
from efface import RecordMetric

class Talkative(RecordMetric):
    name = "talkative"

    def score(self, record):
        return len(record.output)
"""
    (tmp_path / "metrics.py").write_text(code)
    (tmp_path / "forget.jsonl").write_text(RECORD.model_dump_json() + "\n")
    scores = scored(efface("score", str(tmp_path), "--plugin", str(tmp_path / "metrics.py"), "--json"))
    assert scores["sets"]["forget"]["custom"] == {"talkative": 5.0}
    ran = efface("score", str(tmp_path), "--plugin", "nowhere.py")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "plug-in nowhere.py: there is no such file" in ran.stderr
    (tmp_path / "objective.py").write_text(
        "import efface\nclass O(efface.ForgetObjective):\n    name = 'o'\n    def term(self, config): ...\n"
    )
    ran = efface("score", str(tmp_path), "--plugin", str(tmp_path / "objective.py"))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "objective.py holds no metric; derive a class in it from efface.RecordMetric" in ran.stderr


def test_a_run_without_scores_has_none(efface: Command, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    (tmp_path / "metrics.jsonl").touch()
    ran = efface("score", str(tmp_path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "holds no records, for its model was not evaluated; do so with efface evaluate first" in ran.stderr
