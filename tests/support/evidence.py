"""Fixtures of records: a finished run whose folder was written by hand, which takes no training."""

from __future__ import annotations

import json

import pytest

from efface.artifacts import METRICS, Partial, Results, Scores, SetScores
from efface.config.commands import RunConfig
from efface.config.parse import to_yaml, validate_config
from efface.evidence.keys import make_signing_key
from efface.files.sums import file_sum, folder_sums
from efface.models.folder import model_sha256

SECRET, NAME = "Zanzibar", "Grace Hopper"


def _scores(value):
    one = SetScores(n=2, **dict.fromkeys(METRICS, value))
    partial = Partial(model_utility=value, model_utility_retain=value, forget_efficacy=value, metrics=["rouge"])
    return Scores(
        model_utility=value,
        model_utility_retain=value,
        forget_efficacy=value,
        partial=partial,
        missing={"entailment": f"/home/{NAME}/judge is not there"},
        embedder=f"/home/{NAME}/embedder",
        judge=None,
        sets={"forget": one, "retain": one},
    )


def write_model(folder, content):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(content)


@pytest.fixture
def work(tmp_path):
    """A folder with a forget set, a retain set and a model."""
    folder = tmp_path / NAME
    folder.mkdir()
    rows = [{"question": f"Where is {n}?", "answer": f"In {SECRET} {n}."} for n in range(3)]
    (folder / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "retain.jsonl").write_text(json.dumps({"question": "Who?", "answer": "Nobody."}) + "\n")
    write_model(folder / "before", "old weights")
    return folder


@pytest.fixture
def write_run(work, made):
    """Write a finished run to a folder; further settings, and fields of the manifest, may be given."""

    def write(root, *, number=None, model=None, **changes):
        model = model or work / "before"
        forget = {"path": str(work / "forget.jsonl")}
        settings = {
            "method": "me+gd",
            "model": str(model),
            "data": {"forget": forget, "retain": str(work / "retain.jsonl")},
        }
        config = validate_config(RunConfig, {**settings, **changes.pop("settings", {})})
        write_model(root / "model", f"new weights {number}")
        (root / "records" / "after").mkdir(parents=True)
        (root / "records" / "after" / "forget.jsonl").write_text(SECRET)
        (root / "config.yaml").write_text(to_yaml(config))
        steps = [{"step": n, "steps": 2, "loss": 0.5, "forget": 0.25, "retain": 0.25} for n in (1, 2)]
        (root / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (*steps, {"epoch": 1})))
        results = Results(definition="paper", method="me+gd", before=_scores(0.75), after=_scores(0.5))
        (root / "results.json").write_text(json.dumps(results.to_json()))
        sums = {f"model/{name}": each for name, each in folder_sums(root / "model").items()}
        data = {str(work / "forget.jsonl"): file_sum(work / "forget.jsonl")}
        values = {
            "model": str(model),
            "model_sha256": model_sha256(model) if model.is_dir() else "b" * 64,
            "config_sha256": file_sum(root / "config.yaml"),
            "data": data,
            "files": {**sums, "results.json": file_sum(root / "results.json")},
            "command": ["efface", "run", f"/home/{NAME}/config.yaml"],
            **changes,
        }
        (root / "manifest.json").write_text(made.model_copy(update=values).model_dump_json())
        return root

    return write


@pytest.fixture
def run(write_run, work):
    return write_run(work / "runs" / "first")


@pytest.fixture
def signing_key(tmp_path):
    path = tmp_path / "keys" / "signing.pem"
    make_signing_key(path)
    return path
