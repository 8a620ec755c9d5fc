"""The padded baseline gives the packed path's loss and gradients, and both need the documented forward passes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from itertools import count

import pytest
import torch

import measure as measuring
import padded_baseline
import record as recording
import step_cost
from efface.errors import EffaceError
from efface.objectives.config import PAPER_METHODS, ObjectiveConfig
from efface.objectives.method import objective
from efface.text.sequence import TokenizedSequence
from measure import Measured, Setting, measure
from shapes import SHAPES, Shape, build_model
from support.messages import assert_names
from workload import load_workload

ITEMS = 6
MICRO_BATCHES = 2
PADDED_LENGTH = 40
"""More than the longest sequence; the published code pads to 500."""
SHAPE = Shape(32, 2, 4, 2, 48, 97, tie_word_embeddings=True)
MODEL_FORWARDS = {"ga": 1, "npo": 1, "dpo": 2, "me": 1, "idk": 1, "gd": 1, "kl": 1, "ap": 2, "llmu": 3}
REFERENCE_FORWARDS = {"npo": 1, "dpo": 2, "kl": 1, "llmu": 1}


@pytest.fixture(autouse=True)
def one_step(monkeypatch):
    """Measure one step after another, without a second warm-up and with less padding."""
    monkeypatch.setattr(measuring, "WARM_UP", 1)
    monkeypatch.setattr(padded_baseline, "PADDED_LENGTH", PADDED_LENGTH)


def setting(method: str, **changes) -> Setting:
    plain = Setting(
        SHAPE, method, "cpu", "float32", optimizer="adamw", checkpointing=False, max_tokens_per_forward=None, repeats=1
    )
    return replace(plain, **changes)


def examples(method: str) -> list[dict[str, TokenizedSequence]]:
    """Sequences with different beginnings, since a shared prefix would be read once."""
    chance, number = torch.Generator().manual_seed(5), count()

    def sequence(name: str) -> TokenizedSequence:
        lengths = torch.randint(2, 18, (2,), generator=chance).tolist()
        prompt, answer = (torch.randint(0, 97, (length,), generator=chance).tolist() for length in lengths)
        return TokenizedSequence(name, [next(number), *prompt[1:]], answer)

    views = objective(method, ObjectiveConfig()).views
    return [{view: sequence(f"{view}/{index}") for view in views} for index in range(ITEMS)]


def views_tokens(rows: list[dict[str, TokenizedSequence]], *views: str) -> int:
    """Number of tokens to read; a shared prefix is read once."""
    sequences = [(*row[view].prompt, *row[view].answer) for row in rows for view in views or row]
    return len({sequence[:end] for sequence in sequences for end in range(1, len(sequence) + 1)})


@cache
def both(method: str) -> tuple[Measured, Measured]:
    """In float64: an untrained model's ME is a small difference of large numbers, which float32 rounds away."""
    exact = setting(method, dtype="float64")
    return tuple(measure(contender, exact, examples(method)) for contender in ("packed", "padded"))


@pytest.mark.parametrize("method", PAPER_METHODS)
def test_padded_loss_is_packed_loss(method):
    packed, padded = both(method)
    assert padded.forget_loss == pytest.approx(packed.forget_loss, rel=1e-9)
    assert padded.retain_loss == pytest.approx(packed.retain_loss, rel=1e-9)
    assert step_cost.compare(packed, padded)["loss_difference"] < 1e-9


@pytest.mark.parametrize("method", PAPER_METHODS)
def test_forwards_and_tokens_of_one_step(method):
    rows = examples(method)
    packed, padded = both(method)
    parts = method.split("+")
    forwards = sum(MODEL_FORWARDS[part] + REFERENCE_FORWARDS.get(part, 0) for part in parts)
    assert padded.forwards == MICRO_BATCHES * forwards
    assert padded.tokens == forwards * ITEMS * PADDED_LENGTH
    assert packed.forwards == 1
    assert packed.tokens == views_tokens(rows)
    assert (packed.reference_seconds is not None) == any(part in REFERENCE_FORWARDS for part in parts)
    assert padded.reference_seconds is None


def test_the_baseline_pads_to_500_tokens(monkeypatch):
    monkeypatch.undo()
    assert measure("padded", setting("ga"), examples("ga")).tokens == ITEMS * 500


@pytest.mark.parametrize("method", ["me+gd", "dpo+kl"])
def test_padded_gradients_are_packed_gradients(method):
    gradients = []
    for prepare in (measuring.packed, measuring._padded):
        prepared = prepare(setting(method), examples(method))
        prepared.losses()
        gradients.append(torch.cat([weight.grad.flatten() for weight in prepared.model.parameters()]))
    packed, padded = gradients
    assert (packed - padded).norm() < 1e-5 * packed.norm()


@pytest.mark.parametrize("changes", [{"max_tokens_per_forward": 60}, {"checkpointing": True}, {"optimizer": "none"}])
def test_settings_do_not_change_the_loss(changes):
    rows = examples("idk+ap")
    plain, changed = (measure("packed", setting("idk+ap", **more), rows) for more in ({}, changes))
    assert changed.loss == pytest.approx(plain.loss, rel=1e-6)
    assert changed.tokens == plain.tokens
    assert (changed.forwards > 1) == ("max_tokens_per_forward" in changes)


def test_weights_change_only_with_an_optimizer():
    for optimizer, moves in (("adamw", True), ("none", False)):
        prepared = measuring.packed(setting("me+gd"), examples("me+gd"))
        before = prepared.model.lm_head.weight.detach().clone()
        measuring.optimizer_step(prepared, setting("me+gd", optimizer=optimizer))()
        assert torch.equal(before, prepared.model.lm_head.weight) != moves


def test_models_depend_only_on_the_seed():
    one, same, other = (
        build_model(SHAPE, seed=seed, dtype=torch.float32, device=torch.device("cpu")).lm_head.weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_shapes_have_the_parameters_they_are_named_after():
    with torch.device("meta"):
        sizes = {
            name: sum(weight.numel() for weight in build_on_meta(shape).parameters()) for name, shape in SHAPES.items()
        }
    assert 1.3e6 < sizes["tiny"] < 1.6e6
    assert sizes["1b"] == 1_235_814_400  # Llama-3.2-1B's published count
    assert sizes["7b"] == 6_738_415_616  # Llama-2-7B's


def build_on_meta(shape: Shape):
    return build_model(shape, seed=0, dtype=torch.bfloat16, device=torch.device("meta"))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFACE_DATA", str(tmp_path_factory.mktemp("empty")))
        views = ("forget", "forget_idk", "retain", "retain_idk", "forget_mismatch")
        yield load_workload(views, items=32, tokenizer=None)


def test_synthetic_text_is_as_long_as_tofu(synthetic):
    assert synthetic.source.startswith("synthetic-authors")
    assert 53 < synthetic.mean_tokens < 63
    assert synthetic.longest < 500
    assert synthetic.largest_id < SHAPES["tiny"].vocab_size


def test_views_of_an_item_belong_together(synthetic):
    example = synthetic.examples[0]
    assert example["forget"].prompt == example["forget_idk"].prompt == example["forget_mismatch"].prompt
    assert example["retain"].prompt == example["retain_idk"].prompt != example["forget"].prompt
    assert len({tuple(sequence.answer) for sequence in example.values()}) == 5


def test_tofu_is_used_if_available(shared, monkeypatch):
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("EFFACE_SHARED", str(shared))
    workload = load_workload(("forget", "retain"), items=32, tokenizer=None)
    assert workload.source.startswith("tofu-forget10-task1")
    assert 53 < workload.mean_tokens < 63
    assert workload.largest_id < SHAPES["tiny"].vocab_size


def test_too_many_items_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path))
    with pytest.raises(EffaceError, match="--items 401 is more than the 400"):
        load_workload(("forget",), items=401, tokenizer=None)


PACKED = Measured(0.5, 2**30, 3000, 1, 8.5, 0.5, 8.0, reference_seconds=0.1)
PADDED = replace(
    PACKED, seconds=5.0, tokens=32000, forwards=16, loss=8.50017, retain_loss=8.00017, reference_seconds=None
)


@pytest.fixture
def measured(monkeypatch, synthetic):
    """Replace the slow parts: the text, and measuring in separate processes."""
    results = {"packed": PACKED, "padded": PADDED}
    monkeypatch.setattr(step_cost, "step_workload", lambda options: synthetic)
    monkeypatch.setattr(step_cost, "measure_in_subprocess", lambda contender, setting, rows: results[contender])
    return results


def test_report_is_one_json_object(measured, capsys):
    assert step_cost.main(["--shape", "7b", "--method", "NPO+GD", "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["speedup"] == 10
    assert report["loss_difference"] == pytest.approx(2e-5, rel=1e-3)
    assert {"seconds", "peak_bytes", "tokens", "forwards", "loss", "reference_seconds"} <= report["packed"].keys()
    assert "reference_seconds" not in report["padded"]
    assert (report["shape"], report["method"], report["dtype"]) == ("7b", "npo+gd", "float32")
    assert report["optimizer"] == "none"  # only the default of 7b
    assert report["versions"]["torch"] == torch.__version__


def test_what_does_not_fit_is_reported(measured, capsys):
    measured["padded"] = "does not fit into the device's memory"
    assert step_cost.main(["--shape", "7b", "--method", "me+gd", "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["padded"] == {"failed": "does not fit into the device's memory"}
    assert report["speedup"] is None
    assert report["packed"]["seconds"] == 0.5


def test_unknown_method_is_refused(capsys):
    assert step_cost.main(["--shape", "tiny", "--method", "em+gd"]) == 2
    assert "did you mean 'me+gd'" in capsys.readouterr().err


def test_kernels_that_this_machine_or_the_step_cannot_have_are_refused(capsys):
    step = ["--shape", "tiny", "--method", "me+gd", "--device", "cpu", "--kernels"]
    assert step_cost.main([*step, "liger"]) == 2
    assert_names(capsys.readouterr().err, "liger", "CUDA")
    assert step_cost.main([*step, "compiled", "--optimizer", "none"]) == 2
    assert_names(capsys.readouterr().err, "--kernels compiled", "--optimizer adamw")


def test_record_appends_one_row_per_number(tmp_path, synthetic):
    report = {**step_cost.compare(PACKED, PADDED), "shape": "tiny", **step_cost.describe(setting("me+gd"), synthetic)}
    results = tmp_path / "results.csv"
    header = recording.RESULTS.read_text(encoding="utf-8").splitlines()[0]
    results.write_text(header + "\n", encoding="utf-8")
    recording.record(report, results)
    with results.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    assert rows[0]["what"] == "step cost tiny me+gd float32 adamw: packed seconds"
    assert (rows[0]["value"], rows[0]["unit"], rows[0]["torch version"]) == ("0.5", "s", torch.__version__)
    assert all(rows[0][column] for column in ("device", "commit", "date"))
    assert rows[-1]["what"].endswith("speedup")
