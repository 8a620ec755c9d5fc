"""Data and models that cannot be used: one sentence, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest


def write_lines(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rows_of(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_missing_file(run_refused: Callable[..., str]) -> None:
    assert run_refused("data.forget=forgt.jsonl") == "there is no file forgt.jsonl; check the path"


def test_wrong_column(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "forget.jsonl", [*rows_of("forget.jsonl")[:4], {"qestion": "Who?", "answer": "She."}])
    assert "forget.jsonl, line 5: unknown column 'qestion'; rename it to 'question' or remove it" in run_refused()
    write_lines(place / "forget.jsonl", [*rows_of("forget.jsonl")[:4], {"query": "Who?", "answer": "She."}])
    assert "forget.jsonl, line 5: no column 'question'; add it (the row has: query, answer)" in run_refused()


def test_empty_column(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "retain.jsonl", [{"question": "Who?", "answer": " "}])
    assert "retain.jsonl, line 1: column 'answer' is blank; fill it in" in run_refused()


def test_empty_forget_set(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "forget.jsonl", [])
    assert "forget.jsonl is empty; write one JSON object" in run_refused()


def test_same_question_and_answer_to_forget_and_to_keep(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "retain.jsonl", [*rows_of("retain.jsonl"), rows_of("forget.jsonl")[2]])
    sentence = run_refused()
    assert "forget/0003 (forget set) and retain/0005 (retain set) are the same question" in sentence
    assert "remove one" in sentence


def test_answer_that_does_not_fit(run_refused: Callable[..., str]) -> None:
    sentence = run_refused("text.max_length=12")
    assert "'forget/000" in sentence
    assert "the limit is 12; shorten the answer or raise text.max_length" in sentence


def test_output_that_does_not_fit(run_refused: Callable[..., str]) -> None:
    sentence = run_refused("evaluate.max_new_tokens=510")
    assert "evaluate.max_new_tokens=510 exceed the model's 512 positions; set evaluate.max_new_tokens to" in sentence


def test_benchmark_without_its_folder(refused: Callable[..., str], model: Path) -> None:
    arguments = ("run", "tofu-forget01", "method=me+gd", f"model={model}", "--out", "out")
    assert "--data-dir or the environment variable EFFACE_DATA" in refused(*arguments)
    assert "there is no folder nowhere/tofu" in refused(*arguments, "--data-dir", "nowhere")


# Models


@pytest.fixture
def without(place: Path, model: Path) -> Callable[..., str]:
    """Copy the model but for files of these names; return the setting for it."""

    def copy(*names: str) -> str:
        shutil.copytree(model, place / "model", ignore=shutil.ignore_patterns(*names))
        return "model=model"

    return copy


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["model.safetensors"], "model model has no safetensors weights"),
        (["config.json"], "model model has no config.json"),
        (["tokenizer.json", "tokenizer_config.json"], "model model has no tokenizer that loads"),
    ],
)
def test_model_folder_that_lacks_a_part(
    run_refused: Callable[..., str], without: Callable[..., str], names: list[str], problem: str
) -> None:
    assert problem in run_refused(without(*names))


def test_pickled_weights_are_not_loaded(run_refused: Callable[..., str], without: Callable[..., str]) -> None:
    pair = without("model.safetensors")
    Path("model/pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    assert "pickled weights are not loaded" in run_refused(pair)


def test_damaged_weights(run_refused: Callable[..., str], without: Callable[..., str]) -> None:
    pair = without()
    weights = Path("model/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model model does not load" in run_refused(pair)


def test_model_folder_that_is_not_there(run_refused: Callable[..., str]) -> None:
    assert "there is no folder ./nowhere; give the folder of a model as model=FOLDER" in run_refused("model=./nowhere")


@pytest.fixture(params=["refuses", "is silent"])
def unreachable_hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import huggingface_hub.constants

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
def test_unreachable_hub(refused: Callable[..., str]) -> None:
    start = time.monotonic()
    sentence = refused("run", "mine.yaml", "model=someone/some-model-that-is-not-cached", "--out", "out")
    assert time.monotonic() - start < 10
    assert "someone/some-model-that-is-not-cached" in sentence
    assert "the hub cannot be reached" in sentence
    assert "model=FOLDER" in sentence


@pytest.mark.parametrize("key", ["embedder", "judge"])
def test_judging_models_that_do_not_load(run_refused: Callable[..., str], key: str) -> None:
    assert f"evaluate.{key}=./nowhere: there is no folder ./nowhere" in run_refused(f"evaluate.{key}=./nowhere")
    assert f"evaluate.{key}=.: . cannot be loaded" in run_refused(f"evaluate.{key}=.")


def test_judge_that_is_no_judge(run_refused: Callable[..., str], model: Path) -> None:
    sentence = run_refused(f"evaluate.judge={model}")
    assert "labels texts as LABEL_0, LABEL_1" in sentence
    assert "set evaluate.judge to a model trained for natural-language inference" in sentence


def test_cuda_where_there_is_none(run_refused: Callable[..., str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert "device=cuda: torch sees no CUDA device" in run_refused("device=cuda")
