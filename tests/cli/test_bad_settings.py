"""Settings and folders that cannot be used: one sentence, exit code 2, nothing left behind."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from efface.config.presets import preset_names

# Settings


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["trian.lr=1e-5"], "unknown key 'trian.lr'; did you mean 'train.lr'?"),
        (["train.lrr=1e-5"], "unknown key 'train.lrr'; did you mean 'train.lr'?"),
        (["epochs=3"], "unknown key 'epochs'; did you mean 'train.epochs'?"),
        (["train.lora.rank=3"], "unknown key 'train.lora.rank'; did you mean 'train.lora.r'?"),
        (["preset=tofu-forget1"], "unknown preset 'tofu-forget1'; did you mean 'tofu-forget10'?"),
        (["preset=tofu-forget01", "recipe=publishd"], "unknown recipe 'publishd'; did you mean 'published'?"),
        (["recipe=published"], "recipe=published chooses among a preset's settings; add preset=NAME"),
        (["method=me+dg"], "unknown method 'me+dg'; did you mean 'me+gd'?"),
        (["definition=closerlook"], "did you mean 'closer-look'?"),
        (["data=tofu-forget5"], "unknown data 'tofu-forget5': did you mean 'tofu-forget05'?"),
        (["data=tofu-forget01", "data.task=11"], "data: task=11 is not in forget01, which has 1 to 10"),
        (["seed=-1"], "seed=-1: input should be greater than or equal to 0"),
        (["seed=soon"], "seed='soon': input should be a valid integer"),
        (["train.lr=-1.0e-5"], "train.lr=-1e-05: input should be greater than 0"),
        (["train.lr=.inf"], "train.lr=inf: input should be a finite number"),
        (["device=gpu"], "device='gpu': input should be 'auto', 'cpu' or 'cuda'"),
        (["train=5"], "train=5: it holds settings of its own; give them as train.lr=..."),
        (["text.format=lama2"], "did you mean 'llama2'?"),
        (["train.lr"], "'train.lr' is not a setting; write key=value, such as train.lr=1e-5"),
    ],
)
def test_wrong_settings(run_refused: Callable[..., str], pairs: list[str], sentence: str) -> None:
    assert sentence in run_refused(*pairs)


def test_source_that_is_neither_preset_nor_file(refused: Callable[..., str]) -> None:
    sentence = refused("run", "tofu-forget", "--out", "out")
    assert "'tofu-forget' is neither a preset nor a config file" in sentence
    assert all(name in sentence for name in preset_names())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("trian: {lr: 1.0e-5}", "unknown key 'trian'; did you mean 'train'?"),
        ("train: {lrr: 1.0e-5}", "unknown key 'train.lrr'; did you mean 'train.lr'?"),
        ("metod: me+gd", "unknown key 'metod'; did you mean 'method'?"),
        ("model: m", "method is required; give one such as method=me+gd"),
        ("method: me+gd\nmodel: [", "other.yaml, line 2: not YAML"),
        ("\t- {", "other.yaml, line 1: not YAML"),
        ("just words", "other.yaml must hold settings such as `method: me+gd`, one a line"),
        ("", "other.yaml must hold settings"),
        ("1: 2", "other.yaml must hold settings"),
    ],
)
def test_wrong_config_files(refused: Callable[..., str], text: str, sentence: str) -> None:
    Path("other.yaml").write_text(text)
    assert sentence in refused("run", "other.yaml", "--out", "out")


def test_config_files_that_cannot_be_read(refused: Callable[..., str]) -> None:
    assert "cannot read the config file none.yaml: No such file" in refused("run", "none.yaml", "--out", "out")
    assert "is a folder; give a YAML file, such as the config.yaml" in refused("run", ".", "--out", "out")
    Path("latin.yaml").write_bytes(b"method: \xe9")
    assert "latin.yaml is not UTF-8 text" in refused("run", "latin.yaml", "--out", "out")


def test_finetune_refuses_in_the_same_way(refused: Callable[..., str], model: Path) -> None:
    assert "unknown key 'method'" in refused("finetune", "demo", f"model={model}", "method=me+gd", "--out", "out")
    assert refused("finetune", "demo", "--out", "out").startswith("model is required; give a folder or a name")
    assert refused("data", "check") == (
        "data is required; give a file as data.forget=FILE, or a benchmark such as data=tofu-forget01"
    )
    assert "there is no folder ./nowhere" in refused("finetune", "demo", "model=./nowhere", "--out", "out")


# The run's folder


def test_out_that_is_a_file(run_refused: Callable[..., str]) -> None:
    Path("out").write_text("")
    assert "--out out is a file; give a folder" in run_refused()


def test_out_that_holds_something_else(run_refused: Callable[..., str]) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("")
    assert "--out out is not empty and contains no run; choose another folder" in run_refused()


def test_out_that_already_holds_a_run(run_refused: Callable[..., str]) -> None:
    Path("out").mkdir()
    Path("out/config.yaml").write_text("")
    assert "--out out already contains a run; continue it with --resume" in run_refused()


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
    assert "cannot write out/model" in ran.stderr
    assert "free some space" in ran.stderr
    assert not Path("out/model").exists()
    assert not list(Path("out").rglob("*.partial"))
