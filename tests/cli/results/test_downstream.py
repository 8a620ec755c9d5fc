"""`efface downstream`, and downstream tasks of `efface run`: what they print, write and refuse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from efface.cli.common import completion
from efface.cli.results.downstream import downstream_config
from efface.errors import EffaceError
from support.downstream import cache_in, write_tasks
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def local_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with cache_in(tmp_path_factory.mktemp("data-sets")):
        yield write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def words(local_tasks: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Valid arguments; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    settings = [f"model={model}", f"downstream.include={local_tasks}", "downstream.limit=4", "device=cpu"]
    return ["downstream", *settings, "local_arc", "local_mmlu"]


def test_table(efface: Command, words: list[str]) -> None:
    ran = efface(*words, "--out", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    scores = json.loads(Path("out/downstream.json").read_text())
    arc, mmlu = scores["tasks"]["local_arc"], scores["tasks"]["local_mmlu"]
    rows = [line.split() for line in ran.stdout.splitlines()]
    for name, task, n, examples in (("local_arc", arc, "4", "0"), ("local_mmlu", mmlu, "8", "5")):
        assert [name, task["metric"], n, examples, f"{task['value']:.3f}±{task['standard_error']:.3f}"] in rows
    assert ["average", f"{scores['average']:.3f}"] in rows
    assert ran.stdout.endswith("\nscores: out/downstream.json\n")


def test_json(efface: Command, words: list[str], tmp_path: Path) -> None:
    ran = efface(*words, "--out", "out", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == json.loads((tmp_path / "out" / "downstream.json").read_text())


def test_settings_of_an_earlier_one(efface: Command, words: list[str]) -> None:
    first = efface(*words, "--out", "first", "--json")
    refused = efface("downstream", "first/config.yaml", "--out", "second", "--json")
    assert refused.returncode == 2
    assert_names(refused.stderr, "first/config.yaml", "downstream.include", "--allow-plugins")  # tasks may be code
    second = efface("downstream", "first/config.yaml", "--out", "second", "--json", "--allow-plugins")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    words = ["first/config.yaml", "local_truthfulqa", "--out", "third", "--json", "--allow-plugins"]
    other = efface("downstream", *words)
    assert list(json.loads(other.stdout)["tasks"]) == ["local_truthfulqa"]


def test_words() -> None:
    config = downstream_config(["gsm8k", "model=m", "downstream.num_fewshot=3", "arc_easy", "seed=2"])
    assert config.downstream.tasks == ("gsm8k", "arc_easy")
    assert (config.model, config.seed, config.downstream.num_fewshot) == ("m", 2, 3)
    assert len(downstream_config(["model=m"]).downstream.tasks) == 5
    with pytest.raises(EffaceError, match="model is required"):
        downstream_config(["gsm8k"])


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ("downstream.limit=few", ["downstream.limit='few'", "integer"]),
        ("local_arc", ["downstream.tasks", "local_arc", "twice"]),
        ("downstream.include=nowhere", ["downstream.include=nowhere"]),
        ("downstream.chat_template=true", ["downstream.chat_template=true", "chat template"]),
        ("downstream.metrics={local_mmlu: acc_norm}", ["local_mmlu", "'acc_norm'"]),
        ("model=./nowhere", ["./nowhere"]),
    ],
)
def test_refused(efface: Command, words: list[str], tmp_path: Path, more: str, parts: list[str]) -> None:
    ran = efface(*words, more, "--out", "out")
    assert ran.returncode == 2
    assert ran.stderr.startswith("efface: ")
    assert ran.stderr.count("\n") == 1
    assert_names(ran.stderr, *parts)
    assert list(tmp_path.iterdir()) == []


def test_interrupted(efface: Command, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lm_eval.evaluator.evaluate", interrupted)
    assert efface(*words, "--out", "out").returncode == 130
    assert not Path("out").exists()


@pytest.fixture
def run_words(local_tasks: Path) -> list[str]:
    """Settings of a run with two tasks."""
    return ["downstream.tasks=local_arc,local_mmlu", f"downstream.include={local_tasks}", "downstream.limit=4"]


def test_a_run_shows_the_average_and_the_tasks(efface: Command, place: Path, run_words: list[str]) -> None:
    ran = efface("run", "mine.yaml", *run_words, "--out", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads((place / "out" / "results.json").read_text())["downstream"]
    before, after = (f"{found[stage]['average']:.3f}" for stage in ("before", "after"))
    rows = [line.split() for line in ran.stdout.splitlines()]
    assert ["average", before, after] in rows
    assert [row[-1] for row in rows if row[:1] in (["before"], ["ME+GD"])][:2] == [before, after]
    assert "scoring downstream tasks before unlearning" in ran.stdout


def test_a_dry_run_names_the_tasks(efface: Command, place: Path, run_words: list[str]) -> None:
    ran = efface("run", "mine.yaml", *run_words, "--out", "out", "--dry-run")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "  downstream: local_arc, local_mmlu\n" in ran.stdout
    without = efface("unlearn", "mine.yaml", *run_words, "--out", "out", "--dry-run")
    assert "local_arc" not in without.stdout
    assert not (place / "out").exists()


@pytest.mark.slow
def test_all_tasks_of_the_library_are_known(refused: Callable[..., str], model: Path) -> None:
    said = refused("downstream", f"model={model}", "wmdp_bio", "wmdp_chme", "--out", "out")
    assert_names(said, "'wmdp_chme'", "wmdp_chem")
    assert int(said.split("`lm-eval ls tasks` lists ")[1].split(",")[0]) > 10_000


@pytest.mark.usefixtures("few_library_tasks")
def test_a_run_refuses_unknown_tasks(run_refused: Callable[..., str]) -> None:
    assert_names(run_refused("downstream.tasks=arc_chalenge"), "'arc_chalenge'", "arc_challenge")
    assert_names(run_refused("downstream.tasks=gsm8k,gsm8k"), "downstream.tasks", "gsm8k", "twice")


def test_completion() -> None:
    context = SimpleNamespace(info_name="downstream", params={})
    assert completion.pairs(context, "downstream.ch") == [
        "downstream.chat_template=",
        "downstream.chat_template=true",
        "downstream.chat_template=false",
    ]
    assert {"model=", "seed=", "downstream.limit="} < set(completion.pairs(context, ""))
