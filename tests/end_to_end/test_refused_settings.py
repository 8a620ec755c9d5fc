"""Settings and folders that cannot be used are refused before anything is written, with one sentence, exit code 2."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from efface.config.presets import preset_names
from support.messages import assert_names

Refused = Callable[..., str]


# Settings


@pytest.mark.parametrize(
    ("pairs", "parts"),
    [
        (["trian.lr=1e-5"], ["'trian.lr'", "'train.lr'"]),
        (["train.lrr=1e-5"], ["'train.lrr'", "'train.lr'"]),
        (["epochs=3"], ["'epochs'", "'train.epochs'"]),
        (["train.lora.rank=3"], ["'train.lora.rank'", "'train.lora.r'"]),
        (["preset=tofu-forget1"], ["'tofu-forget1'", "'tofu-forget01'"]),
        (["preset=tofu-forget01", "recipe=publishd"], ["'publishd'", "'published'"]),
        (["recipe=published"], ["recipe=published", "preset=NAME"]),
        (["method=me+dg"], ["'me+dg'", "'me+gd'"]),
        (["definition=closerlook"], ["definition", "'closer-look'"]),
        (["data=tofu-forget5"], ["'tofu-forget5'", "'tofu-forget05'"]),
        (["data=tofu-forget01", "data.task=11"], ["task=11", "forget01", "1 to 10"]),
        (["seed=-1"], ["seed=-1", "greater than or equal to 0"]),
        (["seed=soon"], ["seed='soon'", "integer"]),
        (["train.lr=-1.0e-5"], ["train.lr=-1e-05", "greater than 0"]),
        (["train.lr=.inf"], ["train.lr=inf", "finite number"]),
        (["device=gpu"], ["device='gpu'", "'auto', 'cpu' or 'cuda'"]),
        (["train=5"], ["train=5", "train.lr=..."]),
        (["text.format=lama2"], ["text.format", "'llama2'"]),
        (["train.lr"], ["'train.lr'", "key=value", "train.lr=1e-5"]),
        (["evaluate.select_epoch=best"], ["select_epoch=best", "evaluate.every=epoch"]),
        (["keep=0.9", "evaluate.select_epoch=best"], ["evaluate.every=epoch", "evaluate.select_epoch=last", "keep"]),
        (
            ["keep=0.9", "evaluate.every=epoch", "evaluate.select_epoch=best"],
            ["evaluate.select_epoch=last", "leave keep out"],
        ),
        (["evaluate.every=step"], ["evaluate.every"]),
        (["train.average_over=micro-batch"], ["average_over=micro-batch", "give micro_batch_size"]),
        (["train.micro_batch_size=4"], ["micro_batch_size=4", "average_over=micro-batch", "max_tokens_per_forward"]),
        (["me={average: padded, positions: answer}"], ["average=padded", "positions=answer", "average=tokens"]),
        (
            ["me.average=padded", "train.max_tokens_per_forward=400"],
            ["train.max_tokens_per_forward=400", "500 tokens", "average=tokens"],
        ),
        (
            ["me={average: padded, padded_length: 300}", "train.max_row_length=301"],
            ["train.max_row_length=301", "300 tokens", "padded_length"],
        ),
        (["me={average: padded, padded_length: 9}"], ["9 of a padded row", "padded_length", "train.max_row_length"]),
        (["data.refusals=none.txt"], ["none.txt"]),
        (["data.refusals=published"], ["data.refusals=published", "efface data fetch tofu"]),
    ],
)
def test_wrong_settings(run_refused: Refused, pairs: list[str], parts: list[str]) -> None:
    assert_names(run_refused(*pairs), *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("trian: {lr: 1.0e-5}", ["'trian'", "'train'"]),
        ("train: {lrr: 1.0e-5}", ["'train.lrr'", "'train.lr'"]),
        ("metod: me+gd", ["'metod'", "'method'"]),
        ("model: m", ["method is required", "method=me+gd"]),
        ("method: me+gd\nmodel: [", ["other.yaml: not valid YAML (line 2", "YAML"]),
        ("\t- {", ["other.yaml: not valid YAML (line 1", "YAML"]),
        ("just words", ["other.yaml", "method: me+gd"]),
        ("", ["other.yaml", "method: me+gd"]),
        ("1: 2", ["other.yaml", "method: me+gd"]),
        (b"method: \xe9", ["other.yaml", "UTF-8"]),
    ],
)
def test_wrong_config_files(refused: Refused, text: str | bytes, parts: list[str]) -> None:
    Path("other.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_names(refused("run", "other.yaml", "--out", "out"), *parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "tofu-forget", "--out", "out"], ["'tofu-forget'", "preset", "config file", *preset_names()]),
        (["run", "none.yaml", "--out", "out"], ["none.yaml", "No such file"]),
        (["run", ".", "--out", "out"], ["folder", "config.yaml"]),
        (["finetune", "demo", "model=m", "method=me+gd", "--out", "out"], ["'method'"]),
        (["finetune", "demo", "--out", "out"], ["model is required", "model="]),
        (["finetune", "demo", "model=./nowhere", "--out", "out"], ["./nowhere"]),
        (["data", "check"], ["data is required", "data.forget=FILE", "data=tofu-forget01"]),
        (["evaluate", "mine.yaml", "weights=none", "--out", "out"], ["weights"]),
    ],
)
def test_wrong_sources(refused: Refused, arguments: list[str], parts: list[str]) -> None:
    assert_names(refused(*arguments), *parts)


def test_a_real_process_refuses_without_traceback(place: Path) -> None:
    command = [sys.executable, "-m", "efface", "run", "mine.yaml", "trian.lr=1", "--out", "out"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("efface: ")
    assert ran.stderr.count("\n") == 1
    assert_names(ran.stderr, "'trian.lr'", "'train.lr'")
    assert not (place / "out").exists()


# The run's folder


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("out", ["--out out", "file", "folder"]),
        ("out/thesis.txt", ["--out out", "empty", "folder"]),
        ("out/config.yaml", ["--out out", "already", "--resume"]),
    ],
)
def test_out_that_is_in_use(run_refused: Refused, place: Path, file: str, parts: list[str]) -> None:
    (place / file).parent.mkdir(exist_ok=True)
    (place / file).write_text("")
    assert_names(run_refused(), *parts)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 kB: the system refuses as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("place", "full_disk")
def test_full_disk(efface: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ran = efface("run", "mine.yaml", "--out", "out")
    assert ran.returncode == 2
    assert_names(ran.stderr, "out/model", "space")
    assert not Path("out/model").exists()
    assert not list(Path("out").rglob("*.partial"))
