"""Tasks are found and checked by their files, without their data."""

from __future__ import annotations

import pytest
import yaml

from efface.downstream import tasks
from efface.downstream.config import PAPER_METRICS, DownstreamConfig
from efface.downstream.tasks import check_tasks, find_tasks
from efface.errors import EffaceError, install_hint
from support.downstream import LOCAL

pytestmark = pytest.mark.usefixtures("few_library_tasks")


@pytest.fixture
def refused():
    def refuse(config: DownstreamConfig) -> str:
        with pytest.raises(EffaceError) as raised:
            check_tasks(config)
        return str(raised.value)

    return refuse


@pytest.fixture
def custom(tmp_path):
    """Write task files into a folder; settings for the first of them."""

    def write(*files: dict, **settings) -> DownstreamConfig:
        for number, file in enumerate(files):
            (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(file))
        name = files[0].get("task") if isinstance(files[0].get("task"), str) else files[0]["group"]
        return DownstreamConfig(**{"tasks": (name,), "include": str(tmp_path), **settings})

    return write


@pytest.fixture(scope="module")
def with_librarys(tmp_path_factory):
    """Settings with tasks of one folder and of the library."""
    folder = tmp_path_factory.mktemp("custom")
    aggregate = {"aggregate_metric_list": [{"metric": "exact_match"}]}
    both = {"group": "both", "task": ["mine", "gsm8k"], **aggregate}
    wrong = {"group": "wrong", "task": ["mine", "gsm8q"], **aggregate}
    for number, file in enumerate((both, wrong, generating())):
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(file))
    return lambda *names: DownstreamConfig(tasks=names, include=str(folder))


def generating(**settings) -> dict:
    metrics = [{"metric": "exact_match"}]
    return {"task": "mine", "dataset_path": "json", "output_type": "generate_until", "metric_list": metrics, **settings}


def test_the_papers_tasks_are_in_the_library_with_their_metrics():
    resolved = find_tasks(DownstreamConfig())
    assert resolved.metrics == PAPER_METRICS
    assert set(PAPER_METRICS) < set(resolved.manager.all_tasks)
    assert "mmlu" in resolved.manager.all_groups


def test_local_tasks_have_the_papers_metrics_and_need_no_task_of_the_library(local_tasks, monkeypatch):
    monkeypatch.setattr(tasks, "_built_in", lambda: pytest.fail("reads all files of the library"))
    resolved = find_tasks(DownstreamConfig(tasks=LOCAL, include=str(local_tasks)))
    assert resolved.metrics == dict(zip(LOCAL, ("acc_norm", "acc", "acc", "exact_match", "exact_match"), strict=True))
    assert len(resolved.manager.all_tasks) == 7


def test_without_the_library(monkeypatch, refused):
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    assert install_hint("downstream") in refused(DownstreamConfig())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (
            {"tasks": ("gsm8k", "arc_chalenge")},
            [
                "no task 'arc_chalenge'",
                "did you mean arc_challenge or",
                "`lm-eval ls tasks` lists",
                "downstream.include",
            ],
        ),
        ({"tasks": ("ai2_arc",)}, ["ai2_arc is not a task but a tag", "arc_challenge, arc_easy"]),
        ({"tasks": ("arc_challenge",), "metrics": {"arc_challenge": "f1"}}, ["no metric 'f1'", "acc, acc_norm"]),
        (
            {"tasks": ("gsm8k",), "metrics": {"gsm8k": "exact_match,flexible"}},
            ["task gsm8k has no filter 'flexible'", "'flexible-extract'", "strict-match"],
        ),
        ({"tasks": ("mmlu",), "metrics": {"mmlu": "acc_norm"}}, ["task mmlu has no metric 'acc_norm'", "'acc'"]),
    ],
)
def test_tasks_and_metrics_that_do_not_exist_are_refused(refused, settings, named):
    message = refused(DownstreamConfig(**settings))
    assert all(part in message for part in named)


@pytest.mark.parametrize(
    ("task", "metrics", "metric"),
    [
        ("mmlu", {"mmlu": "acc,none"}, "acc,none"),
        ("squadv2", {"squadv2": "f1"}, "f1"),  # computed by code
        ("squadv2", {}, None),
    ],
)
def test_metrics_of_tasks_of_the_library(task, metrics, metric):
    assert find_tasks(DownstreamConfig(tasks=(task,), metrics=metrics)).metrics == {task: metric}


def test_custom_tasks_in_addition_to_the_librarys(with_librarys):
    assert find_tasks(with_librarys("both", "arc_easy")).metrics == {"both": "exact_match", "arc_easy": "acc"}


def test_groups_that_cannot_be_scored_are_refused(with_librarys, custom, refused):
    message = refused(with_librarys("wrong"))
    assert all(part in message for part in ("group wrong names the task 'gsm8q'", "did you mean", "gsm8k"))
    message = refused(custom({"group": "both", "task": ["mine"]}, generating()))
    assert all(part in message for part in ("both is a group without an aggregate score", "name its tasks"))


def test_the_first_metric_that_a_file_lists_is_the_default(custom):
    metrics = [{"metric": "f1"}, {"metric": "acc"}]
    assert find_tasks(custom(generating(output_type="multiple_choice", metric_list=metrics))).metrics == {"mine": "f1"}
    assert find_tasks(custom(generating(output_type="multiple_choice", metric_list=None))).metrics == {"mine": "acc"}


def test_metrics_computed_by_code_are_not_checked(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: mine\nmetric_list:\n  - metric: !function made.metric\n")
    config = DownstreamConfig(tasks=("mine",), include=str(tmp_path), metrics={"mine": "whatever"})
    assert find_tasks(config).metrics == {"mine": "whatever"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "task: [mine",
            ", line 1: not a task file (expected ',' or ']', but got '<stream end>'); write it as YAML in UTF-8",
        ),
        (b"task: \xff", ": not a task file ('utf-8' codec can't decode byte 0xff"),
    ],
)
def test_damaged_task_files_are_refused(tmp_path, refused, content, problem):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused(DownstreamConfig(tasks=("mine",), include=str(tmp_path))).startswith(f"{path}{problem}")


@pytest.mark.parametrize(("folder", "named"), [(".", "holds no task"), ("no", "there is no such folder")])
def test_folders_without_tasks_are_refused(tmp_path, refused, folder, named):
    (tmp_path / "mine.yml").write_text("task: mine")
    message = refused(DownstreamConfig(include=str(tmp_path / folder)))
    assert message.startswith(f"downstream.include={tmp_path / folder}")
    assert all(part in message for part in (named, "*.yaml"))


def test_nothing_is_printed(capfd):
    find_tasks(DownstreamConfig(tasks=("gsm8k",)))
    assert capfd.readouterr() == ("", "")
