"""`efface.unlearn`: the same run as the command, typed results, and resuming."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

import efface as package
from efface import EffaceError
from efface.config.commands import RunConfig
from efface.config.parse import read_yaml, validate_config
from efface.config.size_defaults import SizeDefault
from efface.models.folder import model_sha256
from support.library import (
    FORGET,
    MODEL,
    RETAIN,
    SCORED,
    SETTINGS,
    DiesAfter,
    lines,
    names,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_rows_and_files_and_the_command_make_the_same_model(
    efface: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = package.unlearn(MODEL, forget=FORGET, retain=iter(RETAIN), out="rows", **SETTINGS)
    files = package.unlearn(
        str(MODEL),
        forget=Path(lines("f.jsonl", FORGET)),
        retain={"path": lines("r.jsonl", RETAIN)},
        out="f",
        **SETTINGS,
    )
    assert done.results == files.results
    ran = efface("run", "rows/config.yaml", "--out", "again")  # from what is in the folder alone
    assert (ran.returncode, ran.stderr) == (0, "")
    assert weights("rows") == weights("f") == weights("again")
    assert names(Path("rows")) == names(Path("f")) | {"inputs"}
    assert names(Path("rows/inputs")) == {"forget.jsonl", "retain.jsonl"}


@pytest.mark.parametrize(
    "row", [{"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yo."}]}]
)
def test_conversations(row: dict[str, Any]) -> None:
    done = package.unlearn(MODEL, forget=[row] * 2, scores=False, **SETTINGS | {"method": "ga"})
    with pytest.raises(
        package.EffaceError, match=r"has no results \(scores=False\); score its model with efface\.evaluate"
    ):
        _ = done.results
    assert done.records == {}
    assert (done.folder / "model" / "README.md").is_file()


def test_a_preset_and_its_recipe(here: Path) -> None:
    done = package.unlearn(
        MODEL, preset="demo", data={"authors": 2, "forget_authors": 1}, method="IDK+AP", scores=False, out="out",
        train={"epochs": 1, "batch_size": 20}, device="cpu",
    )  # fmt: skip
    config = validate_config(RunConfig, read_yaml(done.folder / "config.yaml"))
    assert (config.method, config.forget_coeff, config.train.lr, config.train.epochs) == ("idk+ap", 0.1, 3e-4, 1)


def test_results_are_typed_and_the_model_is_the_unlearned_one() -> None:
    done = package.unlearn(MODEL, forget=FORGET, retain=RETAIN, out="out", **SETTINGS)
    assert done.folder == Path("out").absolute()
    assert isinstance(done.results, package.Results)
    assert isinstance(done.results.after, package.Scores)
    assert done.results.to_json() == json.loads(Path("out/results.json").read_text())
    assert {stage: {name: len(rows) for name, rows in sets.items()} for stage, sets in done.records.items()} == {
        "before": {"forget": 8, "retain": 9},
        "after": {"forget": 8, "retain": 9},
    }
    assert isinstance(done.model, PreTrainedModel)
    assert not done.model.training
    assert done.model is done.model
    assert done.tokenizer.decode(done.tokenizer("Turku").input_ids, skip_special_tokens=True) == "Turku"
    found = package.evaluate(done.model, tokenizer=done.tokenizer, forget=FORGET, retain=RETAIN, **SCORED)
    assert found.scores == done.results.after
    assert isinstance(found.records["forget"][0], package.Record)
    compared = package.evaluate("out/model", forget=FORGET, retain=RETAIN, before=done.records["before"], **SCORED)
    assert compared.scores == found.scores


@pytest.mark.parametrize("kind", ["path", "object"])
def test_a_run_is_resumed_from_its_rows_and_object(loaded: tuple[Any, Any], kind: str) -> None:
    model: dict[str, Any] = (
        {"model": MODEL} if kind == "path" else dict(zip(("model", "tokenizer"), loaded, strict=True))
    )
    given = model | {"forget": FORGET, "retain": RETAIN} | SETTINGS
    given["train"] = given["train"] | {"save_steps": 1, "epochs": 2}
    whole = package.unlearn(out="whole", **given)
    with pytest.raises(KeyboardInterrupt):
        package.unlearn(out="cut", reporter=DiesAfter(3), **given)
    with pytest.raises(EffaceError, match="--out cut already contains a run; continue it with --resume"):
        package.unlearn(out="cut", **given)
    kept = Path("cut/inputs/forget.jsonl").read_bytes()
    with pytest.raises(EffaceError, match=r"--resume: forget has other rows than cut/inputs/forget.jsonl; give the"):
        package.unlearn(out="cut", resume=True, **given | {"forget": FORGET[1:]})
    assert Path("cut/inputs/forget.jsonl").read_bytes() == kept
    done = package.unlearn(out="cut", resume=True, **given)
    assert done.results == whole.results
    assert weights("cut") == weights("whole")
    assert names(Path("cut")) == names(Path("whole"))


def test_a_run_whose_settings_follow_from_the_size_of_its_model_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    row = SizeDefault(1.0, 1e-3, 0.2, 2, 4, "a search")
    monkeypatch.setattr("efface.run.preparation.size_settings.default_for", lambda *_: row)
    given: dict[str, Any] = SETTINGS | {"model": MODEL, "forget": FORGET, "retain": RETAIN, "train": {"save_steps": 1}}
    package.unlearn(out="whole", **given)
    with pytest.raises(KeyboardInterrupt):
        package.unlearn(out="cut", reporter=DiesAfter(3), **given)
    with pytest.raises(EffaceError, match="has other settings than these"):
        package.unlearn(out="cut", resume=True, **given | {"forget_coeff": 0.3})
    package.unlearn(out="cut", resume=True, **given)
    assert weights("cut") == weights("whole")


def test_settings_that_were_given_and_are_left_out_of_a_resumed_run_are_other_settings() -> None:
    """No setting follows from the size of this model, or with adapters of any."""
    for given in ({"lr": 1e-3}, {"lr": 1e-3, "lora": {"r": 2}}):
        train = {"epochs": 1, "batch_size": 4, **given}
        settings = SETTINGS | {"model": MODEL, "forget": FORGET, "retain": RETAIN, "train": train}
        out = f"out-{len(given)}"
        with pytest.raises(KeyboardInterrupt):
            package.unlearn(out=out, reporter=DiesAfter(1), **settings)
        started = Path(out, "config.yaml").read_bytes()
        left_out = settings | {"train": {key: each for key, each in train.items() if key != "lr"}}
        with pytest.raises(EffaceError, match="has other settings than these"):
            package.unlearn(out=out, resume=True, **left_out)
        assert Path(out, "config.yaml").read_bytes() == started


def test_another_model_object_is_refused_and_the_first_one_stays(loaded: tuple[Any, Any]) -> None:
    _, tokenizer = loaded
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    given: dict[str, Any] = {**SETTINGS, "tokenizer": tokenizer, "forget": FORGET, "method": "ga", "out": "out"}
    with pytest.raises(KeyboardInterrupt):
        package.unlearn(model, reporter=DiesAfter(1), **given)
    kept = model_sha256(Path("out/before"))
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    with pytest.raises(EffaceError, match="--resume: the model is not the one in out/before; give the same one"):
        package.unlearn(model, resume=True, **given)
    assert model_sha256(Path("out/before")) == kept
    assert not list(Path("out").glob("*.partial"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"trian": {"lr": 1}}, r"unknown key 'trian'; did you mean 'train'\?"),
        ({"train": {"lrr": 1}}, r"unknown key 'train.lrr'; did you mean 'train.lr'\?"),
        ({"train": {"lr": -1}}, "train.lr=-1: input should be greater than 0"),
        ({"method": "me+gdd"}, r"unknown method 'me\+gdd'; did you mean 'me\+gd'\?"),
        ({"preset": "tofu-forgt01"}, r"unknown preset 'tofu-forgt01'; did you mean 'tofu-forget01'\?"),
        ({"recipe": "ours"}, "recipe=ours chooses among a preset's settings"),
        ({"plugins": "none.py"}, "plug-in none.py: there is no such file"),
        ({"retain": None}, r"method me\+gd needs a retain set"),
        ({"model": "no/such/model"}, "model: 'no/such/model' is neither a folder nor a possible hub name"),
    ],
)
def test_settings_are_checked_before_anything_is_written(here: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EffaceError, match=sentence) as refused:
        package.unlearn(out="out", **{"model": MODEL, "forget": FORGET, "retain": RETAIN} | SETTINGS | given)
    assert "\n" not in str(refused.value)
    assert list(here.iterdir()) == []
