"""Types of the files in a run's folder: `Scores`, `Results`, `Manifest` and their parts. No torch."""

from efface.artifacts.base import METRICS, UNCOUNTED_METRICS, Artifact, ExtraMetric, Metric, UncountedMetric
from efface.artifacts.manifest import AdapterOrigin, Hardware, Manifest
from efface.artifacts.results import ContinualResults, Results
from efface.artifacts.scores import (
    Downstream,
    DownstreamResults,
    EpochScores,
    ForgetQuality,
    Partial,
    PrivacyLeakage,
    Scores,
    SetScores,
    TaskScore,
    Trajectory,
)
from efface.artifacts.verdict import AnswerTypes, ForgetVerdict, RetainVerdict, Share, Verdict

__all__ = [
    "METRICS",
    "UNCOUNTED_METRICS",
    "AdapterOrigin",
    "AnswerTypes",
    "Artifact",
    "ContinualResults",
    "Downstream",
    "DownstreamResults",
    "EpochScores",
    "ExtraMetric",
    "ForgetQuality",
    "ForgetVerdict",
    "Hardware",
    "Manifest",
    "Metric",
    "Partial",
    "PrivacyLeakage",
    "Results",
    "RetainVerdict",
    "Scores",
    "SetScores",
    "Share",
    "TaskScore",
    "Trajectory",
    "UncountedMetric",
    "Verdict",
]
