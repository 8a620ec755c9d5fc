"""Definitions of the scores: where published code and papers of the field differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

from efface.artifacts import METRICS, UNCOUNTED_METRICS, Metric, UncountedMetric
from efface.errors import EffaceError, suggest
from efface.scores.metrics.cosine_similarity import CosineTarget
from efface.scores.metrics.memorization import MemorizationForm
from efface.scores.metrics.token_entropy import EntropyTokens
from efface.scores.metrics.truth_ratio import ForgetForm, WrongAnswers


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One definition of the six metrics and their aggregates."""

    name: str
    source: str
    wrong_answers: WrongAnswers
    forget_form: ForgetForm
    cosine_target: CosineTarget
    entropy_tokens: EntropyTokens
    epsilon: float
    """Added to the denominators of truth ratio and normalized probability."""
    utility_metrics: tuple[Metric, ...]
    """Metrics whose harmonic mean over the retain sets is model utility."""
    utility_sets: tuple[str, ...] | None
    """The sets that model utility includes, all of them required; None: every available retain set."""
    efficacy_metrics: tuple[Metric, ...]
    """Metrics of which forget efficacy is 1 - arithmetic mean; empty: the definition has no forget efficacy."""
    memorization_form: MemorizationForm = "corrected"
    """Of extraction strength."""
    uncounted_metrics: tuple[UncountedMetric, ...] = ("extraction_strength", "not_gibberish")
    """Metrics that no aggregate includes, of sets that have them."""
    version: str | None = None
    """The version of the code that it follows, where that code changes: a commit and its date."""

    @property
    def log_epsilon(self) -> float:
        """Natural log of `epsilon`; -inf for none."""
        return math.log(self.epsilon) if self.epsilon else -math.inf


TOFU_METRICS: tuple[Metric, ...] = ("rouge", "probability", "truth_ratio")
TOFU_SETS = ("retain", "real_authors", "world_facts")
FORGET_METRICS: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric != "token_entropy")

CLOSER_LOOK = Definition(
    name="closer-look",
    source="code of arXiv:2410.08109, github.com/sail-sg/closer-look-LLM-unlearning",
    wrong_answers="geometric",
    forget_form="distance",
    cosine_target="answer",
    entropy_tokens="retokenized",
    epsilon=0.0,
    utility_metrics=METRICS,
    utility_sets=None,
    efficacy_metrics=FORGET_METRICS,
)
PAPER = Definition(
    name="paper",
    source="text of arXiv:2410.08109",
    wrong_answers="arithmetic",
    forget_form="distance",
    cosine_target="before",
    entropy_tokens="retokenized",
    epsilon=0.0,
    utility_metrics=METRICS,
    utility_sets=None,
    efficacy_metrics=FORGET_METRICS,
)
TOFU = Definition(
    name="tofu",
    source="code of arXiv:2401.06121, github.com/locuslab/tofu",
    wrong_answers="geometric",
    forget_form="closeness",
    cosine_target="answer",
    entropy_tokens="generated",
    epsilon=0.0,
    utility_metrics=TOFU_METRICS,
    utility_sets=TOFU_SETS,
    efficacy_metrics=(),
)
OPEN_UNLEARNING = Definition(
    name="open-unlearning",
    source="code of arXiv:2506.12618, github.com/locuslab/open-unlearning",
    wrong_answers="geometric",
    forget_form="closeness",
    cosine_target="answer",
    entropy_tokens="generated",
    epsilon=1e-10,
    utility_metrics=TOFU_METRICS,
    utility_sets=TOFU_SETS,
    efficacy_metrics=(),
    memorization_form="open-unlearning",
    uncounted_metrics=UNCOUNTED_METRICS,
    version="d3d7cf9, 2025-12-23",
)

DEFINITIONS = {each.name: each for each in (CLOSER_LOOK, PAPER, TOFU, OPEN_UNLEARNING)}


def definition(name: str) -> Definition:
    """Find a definition.

    Args:
        name: `closer-look`, `paper`, `tofu` or `open-unlearning`.

    Raises:
        EffaceError: When there is none of this name; the message suggests the nearest.
    """
    if name not in DEFINITIONS:
        raise EffaceError(f"there is no score definition {name!r}; {suggest(name, DEFINITIONS)}")
    return DEFINITIONS[name]
