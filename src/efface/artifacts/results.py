"""`results.json` of a run, and of a queue of requests. No torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from efface.artifacts.audit import AuditResults
from efface.artifacts.base import Artifact, Metric
from efface.artifacts.scores import Downstream, DownstreamResults, Scores, Trajectory
from efface.artifacts.tune import KeepResult, TuneSummary
from efface.artifacts.verdict import Verdict


class Results(Artifact):
    """`results.json` of a run: the same scores before and after unlearning."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    definition: str
    method: str
    before: Scores
    after: Scores
    verdict: Verdict | None = None
    """None in earlier versions."""
    trajectory: Trajectory | None = None
    downstream: DownstreamResults | None = None
    audit: AuditResults | None = None
    keep: KeepResult | None = None
    tune: TuneSummary | None = None
    """Of `efface tune`; the scores are then those of questions that the search never looked at."""

    def to_json(self) -> dict[str, Any]:
        """The content of results.json; parts that are missing are omitted."""
        parts = ("verdict", "trajectory", "downstream", "audit", "keep", "tune")
        omitted = {name for name in parts if getattr(self, name) is None}
        return self.model_dump(by_alias=True, exclude=omitted)


class ContinualResults(Artifact):
    """`results.json` of a queue of unlearning requests: the scores of every forget set over time."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    definition: str
    method: str
    requests: list[str]
    """Names of the requests, in order."""
    before: Scores
    """Of the first model: the retain sets, and the forget set of every request as `forgotten-1` and so on."""
    after: list[Scores]
    """After each request: `forget` is its forget set, `forgotten-1` and so on are those of earlier requests."""
    metrics: list[Metric]
    """The metrics in the efficacies below: those of the definition that all these sets have."""
    forget_efficacy: list[list[float | None]]
    """[requests, 1 + requests]: of each forget set before all requests, then after each; None after earlier ones."""
    verdict: Verdict | None = None
    """On the model after the last request, against the first one; None in earlier versions."""
    downstream: list[Downstream] = Field(default=[])
    """Before all requests, then after each; empty if it was not requested."""

    def to_json(self) -> dict[str, Any]:
        """The content of results.json; parts that are missing are omitted."""
        omitted = {name for name in ("verdict", "downstream") if not getattr(self, name)}
        return self.model_dump(by_alias=True, exclude=omitted)
