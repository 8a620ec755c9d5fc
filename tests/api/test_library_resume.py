"""efface as a library: going on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import efface as package
from efface import EffaceError
from efface.models.load import model_sha256
from support.library import (
    FORGET,
    MODEL,
    RETAIN,
    SETTINGS,
    DiesAfter,
    names,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("kind", ["path", "object"])
def test_a_run_goes_on_from_its_rows_and_object(loaded: tuple[Any, Any], kind: str) -> None:
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


def test_another_model_object_is_refused_and_the_first_one_stays(loaded: tuple[Any, Any]) -> None:
    _, tokenizer = loaded
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    given: dict[str, Any] = {"tokenizer": tokenizer, "forget": FORGET, "method": "ga", "out": "out", **SETTINGS}
    with pytest.raises(KeyboardInterrupt):
        package.unlearn(model, reporter=DiesAfter(1), **given)
    kept = model_sha256(Path("out/before"))
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    with pytest.raises(EffaceError, match="--resume: the model is not the one in out/before; give the same one"):
        package.unlearn(model, resume=True, **given)
    assert model_sha256(Path("out/before")) == kept
    assert not list(Path("out").glob("*.partial"))
