"""Settings of downstream tasks. No torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from efface.files.safe_yaml import InvalidYamlError, parse_yaml
from efface.frozen import FrozenModel

PAPER_METRICS = {
    "arc_challenge": "acc_norm",
    "mmlu": "acc",
    "truthfulqa_mc1": "acc",
    "triviaqa": "exact_match",
    "gsm8k": "exact_match,flexible-extract",
}
"""The five tasks of A Closer Look at Machine Unlearning (arXiv:2410.08109) -> the metric that the paper reports."""


def _parse_yaml(value: Any) -> Any:
    """On the command line, a setting of several values is text in YAML."""
    if not isinstance(value, str):
        return value
    try:
        return parse_yaml(value)
    except InvalidYamlError:
        return value


class DownstreamConfig(FrozenModel):
    """Settings of lm-evaluation-harness; two models are comparable only under the same ones."""

    tasks: tuple[str, ...] = tuple(PAPER_METRICS)
    """Names of tasks and groups of lm-evaluation-harness or of `include`."""
    include: str | None = None
    """A folder with custom task files (`*.yaml`, in the library's format); they replace tasks of the same name. Python
    functions that they name are executed."""
    metrics: dict[str, str] = Field(default={})
    """Task -> its metric, such as `acc_norm`, with the filter after a comma where there are several:
    `exact_match,flexible-extract`. By default the paper's for its five tasks, and the first in the task file for
    others."""
    limit: int | None = Field(default=None, gt=0)
    """Only the first `limit` questions of each task, and of each task of a group."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Few-shot examples before each question; by default as in the task file. Tasks with 0 in their file have none."""
    batch_size: int = Field(default=8, gt=0)
    """Questions in one forward pass."""
    chat_template: bool = False
    """Apply the model's chat template, with few-shot examples as earlier turns; most published numbers do not."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """One name or several, separated by commas."""
        parsed = _parse_yaml(value)
        return tuple(name.strip() for name in parsed.split(",")) if isinstance(parsed, str) else parsed

    @field_validator("tasks")
    @classmethod
    def _check_names(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if not tasks or not all(tasks):
            raise ValueError(f"has an empty name or no task; leave it out for {', '.join(PAPER_METRICS)}")
        if repeated := [name for name in tasks if tasks.count(name) > 1]:
            raise ValueError(f"names {repeated[0]} twice; name each task once")
        return tasks

    @field_validator("metrics", mode="before")
    @classmethod
    def _parse_metrics(cls, value: Any) -> Any:
        return _parse_yaml(value)

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, metrics: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        tasks = info.data.get("tasks", metrics)
        if unknown := [name for name in metrics if name not in tasks]:
            raise ValueError(f"{unknown[0]} is not one of the tasks; they are {', '.join(tasks)}")
        return metrics

    def metric(self, task: str) -> str | None:
        """The metric to report for `task`; None if the task file decides."""
        return self.metrics.get(task, PAPER_METRICS.get(task))
