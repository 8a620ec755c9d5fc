"""Settings of downstream tasks."""

from __future__ import annotations

import pytest

from efface.config.commands import DownstreamRunConfig, RunConfig
from efface.config.parse import parse_pairs, read_yaml, to_yaml, validate_config
from efface.config.resolve import resolve_config
from efface.downstream.config import DownstreamConfig
from efface.errors import EffaceError


def given(*pairs: str) -> DownstreamConfig:
    """The settings of `efface downstream model=m PAIRS`."""
    return validate_config(DownstreamRunConfig, {"model": "m", **parse_pairs(pairs, DownstreamRunConfig)}).downstream


def test_the_papers_tasks_and_metrics_are_the_default():
    config = given()
    assert config.tasks == ("arc_challenge", "mmlu", "truthfulqa_mc1", "triviaqa", "gsm8k")
    assert [config.metric(task) for task in config.tasks] == [
        "acc_norm",
        "acc",
        "acc",
        "exact_match",
        "exact_match,flexible-extract",
    ]
    assert config.metric("hellaswag") is None


@pytest.mark.parametrize("text", ["arc_easy,gsm8k", "[arc_easy, gsm8k]", "arc_easy, gsm8k"])
def test_tasks_on_the_command_line(text):
    assert given(f"downstream.tasks={text}").tasks == ("arc_easy", "gsm8k")


def test_metrics_on_the_command_line():
    config = given("downstream.tasks=gsm8k", "downstream.metrics={gsm8k: 'exact_match,strict-match'}")
    assert config.metric("gsm8k") == "exact_match,strict-match"


def asked(*pairs: str) -> DownstreamConfig | None:
    """The settings of `efface run real-world method=me+gd model=m PAIRS`."""
    return resolve_config(RunConfig, "real-world", ["method=me+gd", "model=m", *pairs]).downstream


def test_a_run_asks_for_them_with_one_word(tmp_path):
    assert asked() is None
    assert asked("downstream=true") == DownstreamConfig()
    assert asked("downstream.tasks=gsm8k") == asked("downstream=true", "downstream.tasks=gsm8k")
    assert asked("downstream.limit=9", "downstream=false") is None
    with pytest.raises(
        EffaceError, match="downstream='gsm8k': downstream is a group of settings; set them as downstream"
    ):
        asked("downstream=gsm8k")
    (tmp_path / "mine.yaml").write_text(
        to_yaml(resolve_config(RunConfig, "real-world", ["method=ga", "model=m", "downstream=true"]))
    )
    assert read_yaml(tmp_path / "mine.yaml")["downstream"]["tasks"] == list(DownstreamConfig().tasks)
    assert resolve_config(RunConfig, str(tmp_path / "mine.yaml"), []).downstream == DownstreamConfig()


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["downstream.tasks=gsm8k,gsm8k"], "downstream.tasks: names gsm8k twice; name each task once"),
        (
            ["downstream.tasks=[]"],
            "downstream.tasks: names a task that is empty, or none; leave it out for arc_challenge",
        ),
        (["downstream.tasks=gsm8k,"], "downstream.tasks: names a task that is empty, or none"),
        (
            ["downstream.metrics={gsm: acc}"],
            "downstream.metrics: gsm is none of the tasks; they are arc_challenge, mmlu",
        ),
        (["downstream.limit=0"], "downstream.limit=0: input should be greater than 0"),
        (["downstream.batch_size=0"], "downstream.batch_size=0: input should be greater than 0"),
        (["downstream.num_fewshot=-1"], "downstream.num_fewshot=-1: input should be greater than or equal to 0"),
        (["downstream.taks=gsm8k"], "unknown key 'downstream.taks'; did you mean 'downstream.tasks'?"),
    ],
)
def test_wrong_settings(pairs, sentence):
    with pytest.raises(EffaceError) as raised:
        given(*pairs)
    assert str(raised.value).startswith(sentence)
