"""All ways to compute KL's reference give the same loss, and need the documented number of forward passes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from itertools import count

import pytest
import torch

import kl_reference
import measure as measuring
import record as recording
from efface.text.sequence import TokenizedSequence
from kl_reference import REFERENCE_MODES, measure_mode, name, states_bytes
from measure import Measured, Setting
from shapes import Shape
from workload import load_workload

SHAPE = Shape(32, 2, 4, 2, 48, 97, tie_word_embeddings=True)
VIEWS = ("forget", "forget_idk", "retain")


@pytest.fixture(autouse=True)
def one_step(monkeypatch):
    """Measure one step after another, without a second warm-up."""
    monkeypatch.setattr(measuring, "WARM_UP", 1)


def setting(**changes) -> Setting:
    plain = Setting(
        SHAPE,
        "dpo+kl",
        "cpu",
        "float64",
        optimizer="adamw",
        checkpointing=False,
        max_tokens_per_forward=None,
        repeats=1,
    )
    return replace(plain, **changes)


def examples() -> list[dict[str, TokenizedSequence]]:
    """Sequences with different beginnings, since a shared prefix would be read once."""
    chance, number = torch.Generator().manual_seed(5), count()

    def sequence(view: str) -> TokenizedSequence:
        prompt, answer = (torch.randint(0, 97, (length,), generator=chance).tolist() for length in (4, 7))
        return TokenizedSequence(view, [next(number), *prompt], answer)

    return [{view: sequence(view) for view in VIEWS} for _ in range(4)]


@cache
def measured(trains, way) -> Measured:
    return measure_mode(trains, way, setting(), examples())


@pytest.mark.parametrize(("trains", "way"), REFERENCE_MODES)
def test_forwards_and_tokens(trains, way):
    """One packed forward pass of the model; one more of the retain items if the reference is computed."""
    asked = way != "cached"
    found = measured(trains, way)
    assert (found.forwards, found.tokens) == (1 + asked, 12 * 4 * (3 + asked))
    assert found.reference_seconds > 0  # at least DPO's log-probs


@pytest.mark.parametrize("trains", ["full", "lora"])
def test_the_loss_is_the_same_in_every_mode_and_not_zero(trains):
    same = [measured(*each) for each in REFERENCE_MODES if each[0] == trains]
    assert same[0].retain_loss > 1e-6
    for each in same:
        assert each.forget_loss == pytest.approx(same[0].forget_loss, rel=1e-12)
        assert each.retain_loss == pytest.approx(same[0].retain_loss, rel=1e-9)


def test_states_bytes_is_the_size_in_the_file():
    rows = examples()
    cached = kl_reference.prepare("full", "cached", setting(), rows).cached
    distribution = cached.reference.distribution
    stored = distribution.hidden_states([row["retain"] for row in rows], "answer")
    assert states_bytes(setting(), rows) == stored.nbytes == 4 * 7 * 32 * 8


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """Replace the slow parts: the text, and measuring in separate processes."""
    results = {
        name(*way): Measured(1.0 + place, 2**30, 100, 1, 8.5, 0.5, 8.0 + 1e-3 * place, reference_seconds=0.1)
        for place, way in enumerate(REFERENCE_MODES)
    }
    results["lora, live"] = "does not fit into the device's memory"
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path))
    workload = load_workload(VIEWS, items=2, tokenizer=None)
    monkeypatch.setattr(kl_reference, "step_workload", lambda options: workload)
    monkeypatch.setattr(kl_reference, "run_in_subprocess", lambda function, *arguments: results[name(*arguments[:2])])


def test_report_is_one_json_object_and_each_number_one_row(pretended, capsys, tmp_path):
    assert kl_reference.main(["--shape", "tiny", "--method", "DPO+KL", "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["full, live"]["seconds"] == 2
    assert report["lora, live"] == {"failed": "does not fit into the device's memory"}
    assert (report["shape"], report["method"], report["dtype"]) == ("tiny", "dpo+kl", "float32")
    assert report["states_bytes"] > 0
    results = tmp_path / "results.csv"
    results.write_text(recording.RESULTS.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    recording.record(report, results)
    with results.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["what"] == "KL's reference tiny dpo+kl float32 adamw: full, cached seconds"
    assert len(rows) == 4 * 5


def test_a_method_without_kl_is_refused(pretended, capsys):
    assert kl_reference.main(["--shape", "tiny", "--method", "npo+gd", "--device", "cpu"]) == 2
    assert "npo+gd compares no distributions; use one with kl" in capsys.readouterr().err
