"""Settings of downstream tasks."""

from __future__ import annotations

import pytest

from efface.config.commands import DownstreamRunConfig, RunConfig
from efface.config.parse import parse_pairs, read_yaml, to_yaml, validate_config
from efface.config.resolve import resolve_config
from efface.downstream.config import DownstreamConfig
from efface.errors import EffaceError


def parsed(*pairs: str) -> DownstreamConfig:
    """The settings of `efface downstream model=m PAIRS`."""
    return validate_config(DownstreamRunConfig, {"model": "m", **parse_pairs(pairs, DownstreamRunConfig)}).downstream


def test_the_papers_tasks_and_metrics_are_the_default():
    config = parsed()
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
    assert parsed(f"downstream.tasks={text}").tasks == ("arc_easy", "gsm8k")


def test_metrics_on_the_command_line():
    config = parsed("downstream.tasks=gsm8k", "downstream.metrics={gsm8k: 'exact_match,strict-match'}")
    assert config.metric("gsm8k") == "exact_match,strict-match"


def run_settings(*pairs: str) -> DownstreamConfig | None:
    """The settings of `efface run real-world method=me+gd model=m PAIRS`."""
    return resolve_config(RunConfig, "real-world", ["method=me+gd", "model=m", *pairs]).downstream


def test_a_run_scores_them_with_downstream_true(tmp_path):
    assert run_settings() is None
    assert run_settings("downstream=true") == DownstreamConfig()
    assert run_settings("downstream.tasks=gsm8k") == run_settings("downstream=true", "downstream.tasks=gsm8k")
    assert run_settings("downstream.limit=9", "downstream=false") is None
    with pytest.raises(EffaceError, match=r"downstream='gsm8k': .*downstream.tasks="):
        run_settings("downstream=gsm8k")
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
            "downstream.tasks: has an empty name or no task; leave it out for arc_challenge",
        ),
        (["downstream.tasks=gsm8k,"], "downstream.tasks: has an empty name or no task"),
        (
            ["downstream.metrics={gsm: acc}"],
            "downstream.metrics: gsm is not one of the tasks; they are arc_challenge, mmlu",
        ),
        (["downstream.limit=0"], "downstream.limit=0: input should be greater than 0"),
        (["downstream.batch_size=0"], "downstream.batch_size=0: input should be greater than 0"),
        (["downstream.num_fewshot=-1"], "downstream.num_fewshot=-1: input should be greater than or equal to 0"),
        (["downstream.taks=gsm8k"], "unknown key 'downstream.taks'; did you mean 'downstream.tasks'?"),
    ],
)
def test_wrong_settings_are_refused(pairs, sentence):
    with pytest.raises(EffaceError) as raised:
        parsed(*pairs)
    assert str(raised.value).startswith(sentence)
