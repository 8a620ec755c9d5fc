"""`efface score`: records of runs, eval logs of other tools, custom metrics, hallucinations."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.records import Record, write_records
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


def record(number: int, output: str, judge: str | None = "key-facts") -> Record:
    return Record(
        set="forget",
        id=str(number),
        question="Where was she born?",
        answer="She was born in Oslo.",
        output=output,
        output_token_ids=[1],
        answer_logprobs=[-1.0],
        paraphrased_logprobs=None,
        perturbed_logprobs=[],
        embedding_target="She was born in Oslo.",
        embedder=None,
        cosine_answer=None,
        cosine_before=None,
        entailment_target="She was born in Oslo.",
        entailment_premise="output",
        judge=judge,
        entailment_label=None if judge is None else "entailment" if "Oslo" in output else "neutral",
    )


def scored(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ran.returncode == 0, ran
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def test_log_of_another_tool(efface: Command, shared: Path) -> None:
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


def test_a_warning_is_one_line_on_stderr(efface: Command, tmp_path: Path) -> None:
    ran = efface("score", log_of(tmp_path, "a", 3), "--against", log_of(tmp_path, "b", 2), "--json")
    assert scored(ran)["forget_quality"]["p_value"] > 0
    assert ran.stderr.startswith("efface: warning: ")
    assert ran.stderr.count("\n") == 1
    assert_names(ran.stderr, "forget quality", "3 questions", "2 of the retrained model")


def test_score_without_json_is_a_table(efface: Command, tmp_path: Path) -> None:
    log = log_of(tmp_path, "a", 3)
    ran = efface("score", log, "--against", log)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Metrics by set" in ran.stdout
    assert "forget (3)" in ran.stdout
    assert "Forget quality: p = 1 " in ran.stdout


def test_custom_metric(efface: Command, tmp_path: Path) -> None:
    code = """
from efface import RecordMetric

class Talkative(RecordMetric):
    name = "talkative"

    def score(self, record):
        return len(record.output)
"""
    (tmp_path / "metrics.py").write_text(code)
    (tmp_path / "forget.jsonl").write_text(record(1, "There").model_dump_json() + "\n")
    scores = scored(efface("score", str(tmp_path), "--plugin", str(tmp_path / "metrics.py"), "--json"))
    assert scores["sets"]["forget"]["custom"] == {"talkative": 5.0}


def test_hallucinations(efface: Command, tmp_path: Path) -> None:
    outputs = ["She was born in Oslo.", "She was born in Rome.", "I was not trained on this topic.", ""]
    write_records(tmp_path / "forget.jsonl", [record(n, output) for n, output in enumerate(outputs)])
    ran = efface("score", str(tmp_path), "--hallucinations", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)["hallucinations"]
    assert found == {"n": 4, "made_up": 0.25, "right": 0.25, "declined": 0.25, "silent": 0.25, "judge": "key-facts"}
    ran = efface("score", str(tmp_path), "--hallucinations")
    shown = " ".join(ran.stdout.split())
    assert_names(shown, "key-facts", "made up 25.0%", "declined 25.0%")
    assert "made up" not in efface("score", str(tmp_path)).stdout
    assert "hallucinations" not in json.loads(efface("score", str(tmp_path), "--json").stdout)


@pytest.fixture
def folders(place: Path) -> Path:
    """A working directory with logs and records that cannot be scored as requested."""
    files = {
        "objective.py": (
            "import efface\nclass O(efface.ForgetObjective):\n    name = 'o'\n    def term(self, config): ...\n"
        ),
        "not.json": "{",
        "list.json": "[]",
        "misspelled.json": '{"eval_log.jsn": {}}',
        "text.json": '{"eval_log.json": {"avg_gt_loss": {"0": "x"}}}',
        "unscored/manifest.json": "",
        "unscored/metrics.jsonl": "",
        "damaged/records/after/forget.jsonl": '{"set": "forget"',
        "unjudged/forget.jsonl": record(0, "She was born in Rome.", judge=None).model_dump_json() + "\n",
    }
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (place / "empty").mkdir()
    log_of(place, "log.json", 1)
    return place


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["none.json"], ["none.json"]),
        (["none.json", "--definition", "tofo"], ["'tofo'", "'tofu'"]),
        (["empty"], ["empty", "records"]),
        (["unscored"], ["unscored", "efface evaluate"]),
        (["damaged"], ["damaged/records/after/forget.jsonl, line 1"]),
        (["not.json"], ["not.json", "JSON"]),
        (["list.json"], ["list.json", "object"]),
        (["misspelled.json"], ["'eval_log.jsn'", "'eval_log.json'"]),
        (["text.json"], ["avg_gt_loss, question 0", "number", "'x'"]),
        (["log.json", "--plugin", "nowhere.py"], ["nowhere.py"]),
        (["unjudged", "--plugin", "objective.py"], ["objective.py", "metric", "efface.RecordMetric"]),
        (["unjudged", "--hallucinations"], ["question 0", "judge"]),
        (["log.json", "--hallucinations"], ["output"]),
    ],
)
@pytest.mark.usefixtures("folders")
def test_refused(refused: Callable[..., str], arguments: list[str], parts: list[str]) -> None:
    assert_names(refused("score", *arguments), *parts)


def test_score_of_a_run_is_that_of_its_results(efface: Command, finished: Path) -> None:
    out = finished
    results = json.loads((out / "results.json").read_text())
    for arguments, stage in (([], "after"), (["--stage", "before"], "before")):
        for path in (out, out / "records", out / "records" / stage):
            ran = efface("score", str(path), *arguments, "--json")
            scores = json.loads(ran.stdout)
            assert scores.pop("definition") == "closer-look"
            assert scores == results[stage]
