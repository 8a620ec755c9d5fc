"""Which downstream tasks a model is scored on. No torch."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import Field, ValidationInfo, field_validator

from efface.frozen import FrozenModel

PAPER_METRICS = {
    "arc_challenge": "acc_norm",
    "mmlu": "acc",
    "truthfulqa_mc1": "acc",
    "triviaqa": "exact_match",
    "gsm8k": "exact_match,flexible-extract",
}
"""The five tasks of A Closer Look at Machine Unlearning (arXiv:2410.08109) -> the metric reported there."""


def _read(given: Any) -> Any:
    """On the command line, a setting of several values is text in YAML."""
    if not isinstance(given, str):
        return given
    try:
        return yaml.safe_load(given)
    except yaml.YAMLError:
        return given


class DownstreamConfig(FrozenModel):
    """Settings of lm-evaluation-harness; two models are comparable only under the same ones."""

    tasks: tuple[str, ...] = tuple(PAPER_METRICS)
    """Names of tasks and groups of lm-evaluation-harness or of `include`."""
    include: str | None = None
    """A folder with task files of one's own (`*.yaml`, in the library's format); they win over tasks of the same name.
    Python functions that they name are run."""
    metrics: dict[str, str] = Field(default={})
    """Task -> its metric, such as `acc_norm`, with the filter behind a comma where there are several:
    `exact_match,flexible-extract`. By default the paper's for its five tasks, for others the first that the task's own
    file lists."""
    limit: int | None = Field(default=None, gt=0)
    """Only the first so many questions of each task, and of each task of a group."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples before each question; by default what each task says. Tasks that say 0 stay without."""
    batch_size: int = Field(default=8, gt=0)
    chat_template: bool = False
    """Ask in the model's own chat template, examples as earlier turns; published numbers are mostly without."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """One or several, with commas between them."""
        read = _read(given)
        return tuple(name.strip() for name in read.split(",")) if isinstance(read, str) else read

    @field_validator("tasks")
    @classmethod
    def _each_once(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if not tasks or not all(tasks):
            raise ValueError(f"names a task that is empty, or none; leave it out for {', '.join(PAPER_METRICS)}")
        if twice := [name for name in tasks if tasks.count(name) > 1]:
            raise ValueError(f"names {twice[0]} twice; name each task once")
        return tasks

    @field_validator("metrics", mode="before")
    @classmethod
    def _mapped(cls, given: Any) -> Any:
        return _read(given)

    @field_validator("metrics")
    @classmethod
    def _of_tasks(cls, metrics: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        tasks = info.data.get("tasks", metrics)
        if strange := [name for name in metrics if name not in tasks]:
            raise ValueError(f"{strange[0]} is none of the tasks; they are {', '.join(tasks)}")
        return metrics

    def metric(self, task: str) -> str | None:
        """The metric asked for; None where the task's own file decides."""
        return self.metrics.get(task, PAPER_METRICS.get(task))
