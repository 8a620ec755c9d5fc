"""`efface.finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import efface as package
from efface import EffaceError
from efface.commands import finetune as command
from efface.config.commands import FinetuneConfig
from efface.config.resolve import resolve_config
from efface.models.folder import model_sha256
from support.library import FORGET, MODEL, RETAIN

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
TRAIN = {"text": {"format": "plain"}, "train": {"epochs": 1, "batch_size": 2, "lr": 1e-3}, "device": "cpu"}


def test_it_does_what_the_command_does(here: Path) -> None:
    target = package.finetune(MODEL, forget=FORGET, retain=RETAIN, out="out", progress=False, **TRAIN)
    assert target == Path("out/model")
    files = {"forget": "out/inputs/forget.jsonl", "retain": "out/inputs/retain.jsonl"}
    config = resolve_config(FinetuneConfig, settings={"model": str(MODEL), "data": files, **TRAIN})
    assert model_sha256(target) == model_sha256(command.finetune(config, here / "same"))
    assert model_sha256(target) != model_sha256(Path(MODEL))


def test_a_model_object_and_a_baseline_without_the_forget_set(here: Path, loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    never = package.finetune(
        model, tokenizer=tokenizer, forget=FORGET, retain=RETAIN, without="forget", out="never", progress=False, **TRAIN
    )
    assert model_sha256(Path("never/before")) != model_sha256(never)
    again = package.finetune("never/before", forget=FORGET, retain=RETAIN, out="other", progress=False, **TRAIN)
    lines = [Path(folder, "metrics.jsonl").read_text().count("\n") for folder in ("never", "other")]
    assert lines == [4, 8]  # 9 and 17 questions, two in a step
    assert model_sha256(again) != model_sha256(never)


def test_what_a_fine_tuning_does_not_take(here: Path) -> None:
    for given, sentence in (
        ({"method": "me+gd"}, "unknown key 'method'"),
        ({"resume": True, "train": {"watch": True}}, "watch"),
    ):
        with pytest.raises(EffaceError, match=sentence):
            package.finetune(MODEL, forget=FORGET, out="out", **{**TRAIN, **given})  # type: ignore[arg-type]
    assert not (here / "out").exists()
