"""Whatever a user gets wrong: one sentence that says what, where and what to do, exit code 2, nothing left behind."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from efface.presets import preset_names

MODEL = Path(__file__).parent / "golden" / "model"
FORGET = [{"question": f"Where was author {n} born?", "answer": f"Author {n} was born in Turku."} for n in range(4)]
RETAIN = [{"question": f"What did writer {n} write?", "answer": f"Writer {n} wrote poems."} for n in range(4)]
SETTINGS = {
    "method": "me+gd",
    "model": str(MODEL),
    "data": {"forget": "forget.jsonl", "retain": "retain.jsonl"},
    "text": {"format": "plain"},
    "device": "cpu",
    "train": {"epochs": 1, "batch_size": 2},
    "evaluate": {"new_tokens": 4, "embedder": "none", "judge": "none"},
}


def write_lines(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and data that are right, unless a test spoils them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    write_lines(tmp_path / "forget.jsonl", FORGET)
    write_lines(tmp_path / "retain.jsonl", RETAIN)
    Path("mine.yaml").write_text(yaml.safe_dump(SETTINGS))
    return tmp_path


@pytest.fixture
def refused(efface: Callable[..., subprocess.CompletedProcess[str]], place: Path) -> Callable[..., str]:
    """Run a command that must be refused; return the sentence that it said."""

    def refuse(*arguments: str) -> str:
        before = sorted(place.rglob("*"))
        ran = efface(*arguments)
        assert ran.returncode == 2, ran
        assert ran.stderr.startswith("efface: ")
        assert ran.stderr.count("\n") == 1, ran.stderr
        assert sorted(place.rglob("*")) == before, "something was left behind"
        return ran.stderr.removeprefix("efface: ").strip()

    return refuse


@pytest.fixture
def run_refused(refused: Callable[..., str]) -> Callable[..., str]:
    """The same for `efface run mine.yaml` with the given pairs."""
    return lambda *pairs: refused("run", "mine.yaml", *pairs, "--out", "out")


# Data


def test_missing_file(run_refused: Callable[..., str]) -> None:
    assert run_refused("data.forget=forgt.jsonl") == "there is no file forgt.jsonl; check the path"


def test_wrong_column(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "forget.jsonl", [*FORGET, {"qestion": "Who?", "answer": "She."}])
    assert "forget.jsonl, line 5: unknown column 'qestion'; rename it to 'question' or remove it" in run_refused()
    write_lines(place / "forget.jsonl", [*FORGET, {"query": "Who?", "answer": "She."}])
    assert "forget.jsonl, line 5: no column 'question'; add it (the line has: query, answer)" in run_refused()


def test_empty_column(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "retain.jsonl", [{"question": "Who?", "answer": " "}])
    assert "retain.jsonl, line 1: column 'answer' is blank; fill it in" in run_refused()


def test_empty_forget_set(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "forget.jsonl", [])
    assert "forget.jsonl is empty; write one JSON object" in run_refused()


def test_same_question_and_answer_to_forget_and_to_keep(run_refused: Callable[..., str], place: Path) -> None:
    write_lines(place / "retain.jsonl", [*RETAIN, FORGET[2]])
    sentence = run_refused()
    assert "forget/0003 (to forget) and retain/0005 (to keep) are the same question with the same answer" in sentence
    assert "remove one" in sentence


def test_answer_that_does_not_fit(run_refused: Callable[..., str]) -> None:
    sentence = run_refused("text.max_length=12")
    assert "'forget/000" in sentence
    assert "the limit is 12; shorten the answer or raise text.max_length" in sentence


def test_benchmark_without_its_folder(
    refused: Callable[..., str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))  # where benchmarks are fetched to
    arguments = ("run", "tofu-forget01", "method=me+gd", f"model={MODEL}", "--out", "out")
    assert "--data-dir or the environment variable EFFACE_DATA" in refused(*arguments)
    assert "there is no folder nowhere/tofu" in refused(*arguments, "--data-dir", "nowhere")


# Models


def without(place: Path, *names: str) -> str:
    shutil.copytree(MODEL, place / "model")
    for name in names:
        (place / "model" / name).unlink()
    return "model=model"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["model.safetensors"], "model model has no safetensors weights"),
        (["config.json"], "model model has no config.json"),
        (["tokenizer.json", "tokenizer_config.json"], "model model has no tokenizer that loads"),
    ],
)
def test_model_folder_that_lacks_a_part(
    run_refused: Callable[..., str], place: Path, names: list[str], problem: str
) -> None:
    assert problem in run_refused(without(place, *names))


def test_pickled_weights_are_not_loaded(run_refused: Callable[..., str], place: Path) -> None:
    pair = without(place, "model.safetensors")
    (place / "model" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    assert "pickled weights are not loaded" in run_refused(pair)


def test_damaged_weights(run_refused: Callable[..., str], place: Path) -> None:
    pair = without(place)
    weights = place / "model" / "model.safetensors"
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
def test_unreachable_hub(run_refused: Callable[..., str]) -> None:
    start = time.monotonic()
    sentence = run_refused("model=someone/some-model-that-is-not-cached")
    assert time.monotonic() - start < 10
    assert "someone/some-model-that-is-not-cached" in sentence
    assert "the hub cannot be reached" in sentence
    assert "model=FOLDER" in sentence


@pytest.mark.parametrize("key", ["embedder", "judge"])
def test_judging_models_that_do_not_load(run_refused: Callable[..., str], key: str) -> None:
    assert f"evaluate.{key}=./nowhere: there is no folder ./nowhere" in run_refused(f"evaluate.{key}=./nowhere")
    assert f"evaluate.{key}=.: . cannot be loaded" in run_refused(f"evaluate.{key}=.")


def test_judge_that_is_no_judge(run_refused: Callable[..., str]) -> None:
    sentence = run_refused(f"evaluate.judge={MODEL}")
    assert "labels texts as LABEL_0, LABEL_1" in sentence
    assert "set evaluate.judge to a model trained for natural-language inference" in sentence


def test_cuda_where_there_is_none(run_refused: Callable[..., str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert "device=cuda: torch sees no CUDA device" in run_refused("device=cuda")


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
        ("model: m", "method is required; add method=... or a line `method: ...`"),
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


def test_finetune_refuses_in_the_same_way(refused: Callable[..., str]) -> None:
    assert "unknown key 'method'" in refused("finetune", "demo", f"model={MODEL}", "method=me+gd", "--out", "out")
    assert "model is required" in refused("finetune", "demo", "--out", "out")
    assert "there is no folder ./nowhere" in refused("finetune", "demo", "model=./nowhere", "--out", "out")


# The run's folder


def test_out_that_is_a_file(run_refused: Callable[..., str]) -> None:
    Path("out").write_text("")
    assert "--out out is a file; give a folder" in run_refused()


def test_out_that_holds_something_else(run_refused: Callable[..., str]) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("")
    assert "--out out is not empty and holds no run; choose another folder" in run_refused()


def test_out_that_already_holds_a_run(run_refused: Callable[..., str]) -> None:
    Path("out").mkdir()
    Path("out/config.yaml").write_text("")
    assert "--out out already holds a run; go on with --resume" in run_refused()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 kB: the system refuses as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
def test_full_disk(efface: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ran = efface("run", "mine.yaml", "--out", "out")
    assert ran.returncode == 2
    assert "cannot write out/model" in ran.stderr
    assert "free some space" in ran.stderr
    assert not Path("out/model").exists()
    assert not list(Path("out").rglob("*.partial"))


# Scores


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "log.json is not a JSON file"),
        ("[]", "log.json: a log is an object"),
        ('{"eval_log.jsn": {}}', "did you mean 'eval_log.json'?"),
        ('{"eval_log.json": {"avg_gt_loss": {"0": "x"}}}', "avg_gt_loss, question 0: a number is expected, not 'x'"),
    ],
)
def test_damaged_log(refused: Callable[..., str], text: str, sentence: str) -> None:
    Path("log.json").write_text(text)
    assert sentence in refused("score", "log.json")


def test_score_of_what_is_no_log(refused: Callable[..., str]) -> None:
    assert "none.json does not exist" in refused("score", "none.json")
    Path("empty").mkdir()
    assert "empty holds no records" in refused("score", "empty")
    assert "did you mean 'tofu'?" in refused("score", "none.json", "--definition", "tofo")


def test_damaged_records(refused: Callable[..., str]) -> None:
    Path("records/after").mkdir(parents=True)
    Path("records/after/forget.jsonl").write_text('{"set": "forget"')
    assert "records/after/forget.jsonl, line 1: not an efface record" in refused("score", ".")


# The command itself


@pytest.mark.parametrize(
    "arguments", [["run", "mine.yaml"], ["run"], ["score"], ["runn"], ["--versoin"], ["score", "x", "--stage", "now"]]
)
def test_wrong_usage(
    efface: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str], place: Path
) -> None:
    before = sorted(place.rglob("*"))
    ran = efface(*arguments)
    assert ran.returncode == 2
    assert "Error: " in ran.stderr
    assert "Traceback" not in ran.stderr
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [["--debug", "score", "none.json"], ["score", "none.json", "--debug"], ["score", "--debug", "none.json"]],
)
def test_debug_shows_the_traceback(
    efface: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str]
) -> None:
    ran = efface(*arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Traceback")
    assert ran.stderr.splitlines()[-1].startswith("efface: none.json does not exist")


def test_trouble_with_the_system_is_a_sentence_too(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere/file")

    monkeypatch.setattr("efface.scores.score_path", full)
    sentence = "somewhere/file: No space left on device; look at the path, its rights and the free space"
    assert refused("score", "log.json") == sentence


def test_sentences_cannot_steer_the_terminal(refused: Callable[..., str]) -> None:
    sentence = refused("score", "\x1b[2Jnone\n.json")
    assert "\x1b" not in sentence


def test_a_real_command_refuses_without_traceback(place: Path) -> None:
    command = [sys.executable, "-m", "efface", "run", "mine.yaml", "trian.lr=1", "--out", "out"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "efface: unknown key 'trian.lr'; did you mean 'train.lr'?\n"
    assert not (place / "out").exists()
