"""Data and models that cannot be used are refused before anything is written, with one sentence and exit code 2."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from efface import hub
from support.messages import assert_names
from support.refused import FORGET, RETAIN

Refused = Callable[..., str]


def write_lines(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "rows", "parts"),
    [
        (
            "forget",
            [*FORGET, {"qestion": "Who?", "answer": "She."}],
            ["forget.jsonl", "line 5", "'qestion'", "'question'"],
        ),
        (
            "forget",
            [*FORGET, {"query": "Who?", "answer": "She."}],
            ["forget.jsonl", "line 5", "'question'", "query, answer"],
        ),
        ("forget", [], ["forget.jsonl", "JSON object"]),
        ("retain", [{"question": "Who?", "answer": " "}], ["retain.jsonl", "line 1", "'answer'"]),
        ("retain", [*RETAIN, FORGET[2]], ["forget/0003", "retain/0005", "remove one"]),
    ],
    ids=["misspelled column", "missing column", "empty file", "blank answer", "same item in both sets"],
)
def test_files(run_refused: Refused, place: Path, name: str, rows: list[object], parts: list[str]) -> None:
    write_lines(place / f"{name}.jsonl", rows)
    assert_names(run_refused(), *parts)


@pytest.mark.parametrize(
    ("pair", "parts"),
    [
        ("data.forget=forgt.jsonl", ["forgt.jsonl", "check the path"]),
        ("text.max_length=12", ["'forget/000", "12", "text.max_length"]),
        ("evaluate.max_new_tokens=510", ["evaluate.max_new_tokens=510", "512"]),
        ("model=./nowhere", ["./nowhere", "model=FOLDER"]),
        ("evaluate.embedder=./nowhere", ["evaluate.embedder=./nowhere"]),
        ("evaluate.embedder=.", ["evaluate.embedder=.:"]),
        ("evaluate.judge=./nowhere", ["evaluate.judge=./nowhere"]),
        ("evaluate.judge=.", ["evaluate.judge=.:"]),
        ("reference=no/where/there", ["'no/where/there'"]),
    ],
)
def test_settings_of_data_and_models(run_refused: Refused, pair: str, parts: list[str]) -> None:
    assert_names(run_refused(pair), *parts)


def test_benchmark_without_its_folder(refused: Refused, model: Path) -> None:
    arguments = ("run", "tofu-forget01", "method=me+gd", f"model={model}", "--out", "out")
    assert_names(refused(*arguments), "efface data fetch tofu", "--data-dir", "EFFACE_DATA")
    assert_names(refused(*arguments, "--data-dir", "nowhere"), "nowhere/tofu")


# Folders of models


@pytest.fixture
def without(place: Path, model: Path) -> Callable[..., str]:
    """Copy the model except for files of these names; return the setting for the copy."""

    def copy(*names: str) -> str:
        shutil.copytree(model, place / "model", ignore=shutil.ignore_patterns(*names))
        return "model=model"

    return copy


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["model.safetensors"], "safetensors"),
        (["config.json"], "config.json"),
        (["tokenizer.json", "tokenizer_config.json"], "tokenizer"),
    ],
)
def test_incomplete_model(run_refused: Refused, without: Callable[..., str], names: list[str], problem: str) -> None:
    assert_names(run_refused(without(*names)), "model model", problem)


def test_pickled_weights_are_not_loaded(run_refused: Refused, without: Callable[..., str]) -> None:
    pair = without("model.safetensors")
    Path("model/pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    assert_names(run_refused(pair), "model model", "pickle")


def test_damaged_weights(run_refused: Refused, without: Callable[..., str]) -> None:
    pair = without()
    weights = Path("model/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    assert_names(run_refused(pair), "model model")


@pytest.fixture(params=["refuses", "is silent"])
def unreachable_hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import huggingface_hub.constants

    monkeypatch.setattr(hub, "SECONDS_TO_CONNECT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        if request.param == "refuses":
            server.close()
            port = 1
        else:  # connections wait in its queue for ever
            port = server.getsockname()[1]
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield


@pytest.mark.usefixtures("unreachable_hub")
def test_unreachable_hub(refused: Refused) -> None:
    refused("run", "mine.yaml", "model=./nowhere", "--out", "out")  # imports what the next one needs
    start = time.monotonic()
    sentence = refused("run", "mine.yaml", "model=someone/some-model-that-is-not-cached", "--out", "out")
    assert time.monotonic() - start < 25  # the loaders of transformers would try for half a minute
    assert_names(sentence, "someone/some-model-that-is-not-cached", "the hub", "model=FOLDER")


def test_judge_without_the_labels_of_a_judge(run_refused: Refused, model: Path) -> None:
    sentence = run_refused(f"evaluate.judge={model}")
    assert_names(sentence, "LABEL_0, LABEL_1", "evaluate.judge", "natural-language inference")


def test_cuda_where_there_is_none(run_refused: Refused) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert_names(run_refused("device=cuda"), "device=cuda", "CUDA")
