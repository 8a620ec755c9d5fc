"""A model's folder without its tokenizer, which is named instead, in every command; and answers that share a token."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.evaluation.record_files import read_record_sets
from efface.files.folders import QueuePaths
from efface.models.tokenizer import load_tokenizer, tokenizer_sha256
from support.messages import assert_names
from support.templates import byte_level

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bare(place: Path, model: Path) -> Path:
    """The model without its tokenizer, in the working directory."""
    folder = place / "bare"
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("tokenizer*"))
    return folder


def done(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def test_a_run_names_its_tokenizer_and_saves_it(efface: Command, place: Path, model: Path, bare: Path) -> None:
    named = ["model=bare", f"tokenizer={model}"]
    done(efface("run", "mine.yaml", *named, "--out", "out"))
    made = manifest(place / "out")
    assert (made["tokenizer"], made["tokenizer_sha256"]) == (str(model), tokenizer_sha256(model))
    assert made["text"] == {"format": "plain", "boundary": "joint"}
    assert load_tokenizer(place / "out" / "model").get_vocab() == load_tokenizer(model).get_vocab()
    done(efface("evaluate", "mine.yaml", f"model={model}", "--out", "own"))
    done(efface("evaluate", "mine.yaml", *named, "--out", "named"))
    before = read_record_sets(place / "out" / "records" / "before")
    assert read_record_sets(place / "own" / "records") == read_record_sets(place / "named" / "records") == before
    assert manifest(place / "own")["tokenizer"] is None
    assert efface("run", "mine.yaml", *named, "--out", "out", "--resume").returncode == 0
    other = efface("run", "mine.yaml", "model=bare", "--out", "out", "--resume")
    assert_names(other.stderr, "has other settings")
    done(efface("evaluate", "mine.yaml", "model=out/model", "--out", "after"))


def test_commands_that_ask_a_model(efface: Command, place: Path, model: Path, bare: Path) -> None:
    named = ["model=bare", f"tokenizer={model}", "device=cpu", "text.format=plain"]
    done(efface("data", "answers", "forget.jsonl", *named, "evaluate.max_new_tokens=4", "--out", "a.jsonl"))
    done(efface("data", "check", "mine.yaml", *named[:2]))
    done(efface("data", "check", "mine.yaml", *named[:2]))
    done(efface("doctor", "mine.yaml", *named[:2], "--steps", "0"))
    done(efface("finetune", "data.forget=forget.jsonl", *named, "train.epochs=1", "train.batch_size=4", "--out", "t"))
    assert load_tokenizer(place / "t" / "model").get_vocab() == load_tokenizer(model).get_vocab()
    queue = ["continual.requests=[forget.jsonl]", "data.retain=retain.jsonl", "data.forget=null"]
    done(efface("run", "mine.yaml", *named[:2], *queue, "--out", "queue"))
    [request] = QueuePaths(place / "queue").requests()
    assert manifest(place / "queue")["tokenizer"] == manifest(request.root)["tokenizer"] == str(model)


COMMANDS = {
    "run": ("run", "mine.yaml", "--out", "out"),
    "unlearn": ("unlearn", "mine.yaml", "--out", "out"),
    "evaluate": ("evaluate", "mine.yaml", "--out", "out"),
    "finetune": ("finetune", "data.forget=forget.jsonl", "text.format=plain", "--out", "out"),
    "check": ("data", "check", "mine.yaml"),
    "describe": ("data", "check", "mine.yaml"),
    "answers": ("data", "answers", "forget.jsonl", "text.format=plain", "--out", "out.jsonl"),
    "probe": ("data", "probe", "text.format=plain", "--out", "out"),
    "downstream": ("downstream", "downstream.tasks=arc_easy", "--out", "out"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_tokenizer_of_another_vocabulary_is_refused(
    refused: Callable[..., str], place: Path, model: Path, command: str, request: pytest.FixtureRequest
) -> None:
    if command == "downstream":
        pytest.importorskip("lm_eval")
        request.getfixturevalue("few_library_tasks")
    byte_level().save_pretrained(place / "other")
    message = refused(*COMMANDS[command], f"model={model}", "tokenizer=other")
    assert_names(message, "tokenizer other", f"model {model}", "another vocabulary")


def test_the_doctor_finds_a_tokenizer_of_another_vocabulary(efface: Command, place: Path, model: Path) -> None:
    byte_level().save_pretrained(place / "other")
    ran = efface("doctor", "mine.yaml", f"model={model}", "tokenizer=other", "--steps", "0")
    assert ran.returncode != 0
    assert_names(ran.stdout, "tokenizer other", "another vocabulary")


ANSWERS = ["he author.", "12.", "hey.", "34."]
"""After a prompt that ends with ` t`, two of them share a token with it."""


def test_commands_say_how_many_answers_share_a_token_with_their_prompt(efface: Command, place: Path) -> None:
    rows = [{"question": f"Who is {n}?", "answer": answer} for n, answer in enumerate(ANSWERS)]
    (place / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = ["text.format={question} t{answer}", "method=me+gd", "evaluate.limit=2"]
    said = {
        "evaluate": efface("evaluate", "mine.yaml", *text[:1], text[2], "--out", "scored"),
        "check": efface("data", "check", "mine.yaml", *text[:1], text[2]),
        "doctor": efface("doctor", "mine.yaml", *text, "--steps", "0"),
        "unlearn": efface("unlearn", "mine.yaml", *text, "--out", "out"),
        "run": efface("run", "mine.yaml", *text, "--out", "scored-too"),
        "dry run": efface("run", "mine.yaml", *text, "--out", "planned", "--dry-run"),
    }
    for command, ran in said.items():
        assert ran.returncode == 0, ran
        plain = " ".join((ran.stdout + ran.stderr).split())
        if command != "unlearn":
            assert_names(plain, "evaluation: 1 of 4 answers", "text.boundary=joint-counted")
        if command != "evaluate":
            assert_names(plain, "training: 2 of ", "answers")
