"""Tasks are found and refused by what their files say, without their data."""

from __future__ import annotations

import pytest
import yaml

from efface.downstream import tasks
from efface.downstream.config import PAPER_METRICS, DownstreamConfig
from efface.downstream.tasks import check_tasks, find_tasks
from efface.errors import EffaceError
from support.downstream import LOCAL


@pytest.fixture
def refused():
    def refuse(config: DownstreamConfig) -> str:
        with pytest.raises(EffaceError) as raised:
            check_tasks(config)
        return str(raised.value)

    return refuse


@pytest.fixture
def own(tmp_path):
    """Write task files into a folder; settings for the first of them."""

    def write(*files: dict, **settings) -> DownstreamConfig:
        for number, file in enumerate(files):
            (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(file))
        name = files[0].get("task") if isinstance(files[0].get("task"), str) else files[0]["group"]
        return DownstreamConfig(**{"tasks": (name,), "include": str(tmp_path), **settings})

    return write


def generating(**settings) -> dict:
    metrics = [{"metric": "exact_match"}]
    return {"task": "mine", "dataset_path": "json", "output_type": "generate_until", "metric_list": metrics, **settings}


def test_the_papers_tasks_are_in_the_library_with_their_metrics():
    found = find_tasks(DownstreamConfig())
    assert found.metrics == PAPER_METRICS
    assert set(PAPER_METRICS) < set(found.manager.all_tasks)
    assert "mmlu" in found.manager.all_groups


def test_local_tasks_have_the_papers_metrics_and_need_no_task_of_the_library(local_tasks, monkeypatch):
    monkeypatch.setattr(tasks, "_built_in", lambda: pytest.fail("reads ten thousand files"))
    found = find_tasks(DownstreamConfig(tasks=LOCAL, include=str(local_tasks)))
    assert found.metrics == dict(zip(LOCAL, ("acc_norm", "acc", "acc", "exact_match", "exact_match"), strict=True))
    assert len(found.manager.all_tasks) == 7


def test_without_the_library(monkeypatch, refused):
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    assert refused(DownstreamConfig()) == (
        "downstream tasks need lm-evaluation-harness; install it with: pip install 'efface[downstream]'"
    )


def test_a_task_that_does_not_exist(refused):
    sentence = refused(DownstreamConfig(tasks=("gsm8k", "arc_chalenge")))
    assert sentence.startswith("there is no task 'arc_chalenge'; did you mean arc_challenge or ")
    assert "`lm-eval ls tasks` lists 1" in sentence
    assert sentence.endswith("downstream.include=FOLDER adds your own")


def test_a_tag(refused):
    sentence = refused(DownstreamConfig(tasks=("ai2_arc",)))
    assert sentence == "ai2_arc is no task but a tag on several; name them: arc_challenge, arc_easy"


def test_metrics_and_filters_of_the_librarys_tasks(refused):
    def asked(task: str, metric: str) -> DownstreamConfig:
        return DownstreamConfig(tasks=(task,), metrics={task: metric})

    assert refused(asked("arc_challenge", "f1")) == "task arc_challenge has no metric 'f1'; allowed: acc, acc_norm"
    assert refused(asked("gsm8k", "exact_match,flexible")) == (
        "task gsm8k has no filter 'flexible'; did you mean 'flexible-extract'? allowed: flexible-extract, strict-match"
    )
    assert refused(asked("mmlu", "acc_norm")) == "task mmlu has no metric 'acc_norm'; did you mean 'acc'? allowed: acc"
    assert find_tasks(asked("mmlu", "acc,none")).metrics == {"mmlu": "acc,none"}
    assert find_tasks(asked("squadv2", "f1")).metrics == {"squadv2": "f1"}  # made by code
    assert find_tasks(DownstreamConfig(tasks=("squadv2",))).metrics == {"squadv2": None}


def test_own_tasks_beside_the_librarys(own):
    group = {"group": "both", "task": ["mine", "gsm8k"], "aggregate_metric_list": [{"metric": "exact_match"}]}
    found = find_tasks(own(group, generating(), tasks=("both", "arc_easy")))
    assert found.metrics == {"both": "exact_match", "arc_easy": "acc"}


def test_a_group_that_names_no_task(own, refused):
    group = {"group": "both", "task": ["mine", "gsm8q"], "aggregate_metric_list": [{"metric": "exact_match"}]}
    sentence = refused(own(group, generating()))
    assert sentence.startswith("group both names the task 'gsm8q', which is not there; did you mean ")
    assert "gsm8k" in sentence


def test_a_group_without_a_score(own, refused):
    sentence = refused(own({"group": "both", "task": ["mine"]}, generating()))
    assert sentence == "both is a group without a score of its own; name its tasks"


def test_the_first_metric_that_a_file_lists_is_the_default(own):
    metrics = [{"metric": "f1"}, {"metric": "acc"}]
    assert find_tasks(own(generating(output_type="multiple_choice", metric_list=metrics))).metrics == {"mine": "f1"}
    assert find_tasks(own(generating(output_type="multiple_choice", metric_list=None))).metrics == {"mine": "acc"}


def test_metrics_that_code_makes_are_not_known_before(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: mine\nmetric_list:\n  - metric: !function made.metric\n")
    config = DownstreamConfig(tasks=("mine",), include=str(tmp_path), metrics={"mine": "whatever"})
    assert find_tasks(config).metrics == {"mine": "whatever"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "task: [mine",
            ", line 1: no task file (expected ',' or ']', but got '<stream end>'); write it as YAML in UTF-8",
        ),
        (b"task: \xff", ": no task file ('utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_damaged_file_in_the_folder(tmp_path, refused, content, problem):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused(DownstreamConfig(tasks=("mine",), include=str(tmp_path))).startswith(f"{path}{problem}")


def test_folders_without_tasks(tmp_path, refused):
    (tmp_path / "mine.yml").write_text("task: mine")
    assert refused(DownstreamConfig(include=str(tmp_path))) == (
        f"downstream.include={tmp_path} holds no task; give a folder with task files (*.yaml)"
    )
    assert refused(DownstreamConfig(include=str(tmp_path / "no"))) == (
        f"downstream.include={tmp_path / 'no'}: there is no such folder; give one with task files (*.yaml)"
    )


def test_nothing_is_printed(capfd):
    find_tasks(DownstreamConfig(tasks=("gsm8k",)))
    assert capfd.readouterr() == ("", "")
