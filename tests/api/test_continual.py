"""`efface.unlearn_continually`: requests one after another, further requests, and resuming."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import efface as package
from efface import EffaceError
from efface.artifacts import Manifest
from support.library import FORGET, MODEL, RETAIN, SETTINGS, DiesAfter, lines, names

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FIRST, SECOND = FORGET[:4], FORGET[4:]
GIVEN: dict[str, Any] = {"model": MODEL, "retain": RETAIN, "method": "npo+gd", **SETTINGS}


def weights(folder: str, request: int) -> bytes:
    return Path(folder, "requests", f"{request:02d}", "model", "model.safetensors").read_bytes()


def test_rows_and_files_make_the_same_as_the_command(efface: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = package.unlearn_continually(requests=[FIRST, Path(lines("second.jsonl", SECOND))], out="rows", **GIVEN)
    assert isinstance(done.results, package.ContinualResults)
    assert [len(row) for row in done.results.forget_efficacy] == [3, 3]
    assert {name: len(rows) for name, rows in done.records_before.items()} == {
        "forgotten-1": 4,
        "forgotten-2": 4,
        "retain": 9,
    }
    assert done.last.folder == done.folder / "requests" / "02"
    assert done.last.results.after == done.results.after[-1]
    assert names(Path("rows/inputs")) == {"request-1.jsonl", "retain.jsonl"}
    ran = efface("run", "rows/config.yaml", "--out", "again")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert weights("again", 2) == weights("rows", 2)
    assert not done.model.training
    assert done.tokenizer.decode(done.tokenizer("Turku").input_ids, skip_special_tokens=True) == "Turku"


@pytest.mark.slow
def test_more_requests_later_and_after_a_stop() -> None:
    whole = package.unlearn_continually(requests=[FIRST, SECOND], out="whole", **GIVEN)
    with pytest.raises(KeyboardInterrupt):
        package.unlearn_continually(requests=[FIRST], out="parts", reporter=DiesAfter(1), **GIVEN)
    package.unlearn_continually(requests=[FIRST], out="parts", resume=True, **GIVEN)
    first = Path("parts/inputs/request-1.jsonl").read_bytes()
    with pytest.raises(EffaceError, match="--resume: request-1 has other rows than"):
        package.unlearn_continually(requests=[SECOND, FIRST], out="parts", resume=True, **GIVEN)
    assert Path("parts/inputs/request-1.jsonl").read_bytes() == first
    assert names(Path("parts/inputs")) == {"request-1.jsonl", "retain.jsonl"}
    parts = package.unlearn_continually(requests=[FIRST, SECOND], out="parts", resume=True, **GIVEN)
    assert weights("parts", 2) == weights("whole", 2)
    assert parts.results.forget_efficacy == whole.results.forget_efficacy


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"requests": "first.jsonl"}, "requests is of type str; give a list, of files, rows or numbers of tasks"),
        ({"requests": []}, "continual.requests=.* at least 1 item"),
        (
            {"requests": [FIRST, FIRST]},
            r"^request 2 \(request-2\): request-2: earlier requests forgot all of its items",
        ),
        (
            {"requests": [FIRST, {"rows": SECOND, "columns": {"answer": "anwser"}}]},
            r"^request 2 \(request-2\): columns.answer=anwser: request-2 has no such column; did you mean 'answer'?",
        ),
        ({"requests": [FIRST, [{"question": "Why?", "answer": " "}]]}, "request-2, row 1: column 'answer' is blank"),
        ({"requests": [1, 3], "retain": None, "data": "tofu-forget01"}, "task 3 is listed but task 2 is not"),
    ],
)
def test_refused(here: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EffaceError, match=sentence) as refused:
        package.unlearn_continually(out="out", **GIVEN | given)
    assert "\n" not in str(refused.value)
    assert list(here.iterdir()) == []


def test_an_adapter_of_a_model_in_memory_is_kept() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    changes: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "train": {**SETTINGS["train"], "lora": {"r": 2}}}
    done = package.unlearn_continually(requests=[FIRST, SECOND], lora="keep", out="kept", **{**GIVEN, **changes})
    manifest = Manifest.model_validate_json((done.last.folder / "manifest.json").read_bytes())
    assert manifest.adapter is not None
    assert Path(manifest.adapter.base).resolve() == (done.folder / "before").resolve()
    assert manifest.adapter.continues is not None
