"""Lines to compare with, from the command: a model made without the forget set, an untrained one, hallucinations."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.artifacts import Record, write_records

Command = Callable[..., subprocess.CompletedProcess[str]]
FINETUNE = ("finetune", "data=synthetic-authors", "text.format=plain", "device=cpu", "train.batch_size=20")


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


def test_hallucinations_are_counted_and_their_judge_is_named(efface: Command, tmp_path: Path) -> None:
    said = ["She was born in Oslo.", "She was born in Rome.", "I was not trained on this topic.", ""]
    write_records(tmp_path / "forget.jsonl", [record(n, output) for n, output in enumerate(said)])
    ran = efface("score", str(tmp_path), "--hallucinations", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)["hallucinations"]
    assert found == {"n": 4, "made_up": 0.25, "right": 0.25, "declined": 0.25, "silent": 0.25, "judge": "key-facts"}
    ran = efface("score", str(tmp_path), "--hallucinations")
    shown = " ".join(ran.stdout.split())
    assert "The 4 answers on the forget set, judged by key-facts: made up 25.0%, right 25.0%, declined 25.0%" in shown
    assert "key-facts" in shown
    assert "answers on the forget set" not in efface("score", str(tmp_path)).stdout
    assert "hallucinations" not in json.loads(efface("score", str(tmp_path), "--json").stdout)


def test_hallucinations_without_a_judge_are_refused(efface: Command, tmp_path: Path) -> None:
    write_records(tmp_path / "forget.jsonl", [record(0, "She was born in Rome.", judge=None)])
    ran = efface("score", str(tmp_path), "--hallucinations")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "question 0 has no judgment" in ran.stderr
    assert "evaluate with a judge" in ran.stderr


def test_hallucinations_of_a_log_without_outputs_are_refused(efface: Command, tmp_path: Path) -> None:
    block = {"avg_gt_loss": [0.1], "avg_paraphrased_loss": [0.2], "average_perturb_loss": [[1.0, 2.0]]}
    (tmp_path / "log.json").write_text(json.dumps({"eval_log_forget.json": block}))
    ran = efface("score", str(tmp_path / "log.json"), "--hallucinations")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "has no output" in ran.stderr


@pytest.mark.usefixtures("place")
def test_finetuning_without_what_is_to_be_forgotten(efface: Command, model: Path) -> None:
    """The other way to say it is a setting."""
    for without in (("--without", "forget"), ("without=forget",)):
        ran = efface(*FINETUNE, f"model={model}", *without, "--out", "out", "--dry-run")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "360 items to learn" in " ".join(ran.stdout.split())
    ran = efface(*FINETUNE, f"model={model}", "--out", "out", "--dry-run")
    assert "400 items to learn" in " ".join(ran.stdout.split())


@pytest.mark.usefixtures("place")
def test_a_bad_without_is_refused(refused: Callable[..., str], model: Path) -> None:
    arguments = (*FINETUNE, f"model={model}", "--out", "out")
    sentence = refused(*arguments, "--without", "forget1")
    assert "without" in sentence
    assert "forget01" in sentence
    assert "tofu" in refused(*arguments, "--without", "forget05")  # which is not here to be left out


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (
            "evaluate.select_epoch=best",
            "select_epoch=best chooses among epochs that are scored; add evaluate.every=epoch",
        ),
        ("evaluate.every=step", "evaluate.every"),
        ("reference=no/where/there", "'no/where/there' is neither a folder nor"),
    ],
)
def test_bad_epochs_and_references_are_refused(run_refused: Callable[..., str], pair: str, said: str) -> None:
    assert said in run_refused(pair)


def test_an_evaluation_has_no_other_weights(refused: Callable[..., str]) -> None:
    assert "weights" in refused("evaluate", "mine.yaml", "weights=none", "--out", "out")
