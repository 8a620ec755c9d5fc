"""The metrics of one evaluation set, and why some of them are missing."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from efface.artifacts import METRICS, UNCOUNTED_METRICS, Metric, SetScores, UncountedMetric
from efface.scores.custom import find_custom_score
from efface.scores.definitions import Definition
from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.means import mean
from efface.scores.metrics.cosine_similarity import cosine_similarity
from efface.scores.metrics.entailment import entailment
from efface.scores.metrics.memorization import exact_memorization, extraction_strength
from efface.scores.metrics.probability import probability
from efface.scores.metrics.rouge import rouge, rouge_1_recall
from efface.scores.metrics.token_entropy import EntropyTokens, counted_tokens, token_entropy
from efface.scores.metrics.truth_ratio import correct_share, truth_ratio
from efface.scores.sets import SETS_WITH_OPTIONS, is_to_forget


@dataclass(frozen=True)
class Gap:
    """A metric that a set does not have, because some or all of its questions do not."""

    set: str
    metric: str
    """A built-in or a custom metric."""
    count: int
    """Number of questions without it."""
    n: int
    """Number of questions."""
    first: str
    """Id of the first question without it."""
    reason: str
    """The most frequent one."""


@dataclass(frozen=True)
class ScoredSet:
    """The scores of one set."""

    scores: SetScores
    gaps: list[Gap]
    embedders: set[str]
    judges: set[str]
    gibberish_detectors: set[str]
    entropy_tokens: set[EntropyTokens]
    """What the token entropies of its questions count."""


def question_metrics(inputs: MetricInputs, *, set_name: str, definition: Definition) -> dict[Metric, float | Missing]:
    """Compute the six metrics of one question.

    Args:
        inputs: Output and likelihoods.
        set_name: Name of its set, on which truth ratio and probability depend.
        definition: The score definition.

    Returns:
        Metric -> a number in [0, 1], or why there is none.
    """
    recall = rouge(inputs)
    values: dict[Metric, float | Missing] = {
        "rouge": recall,
        "probability": probability(
            inputs, over_options=set_name in SETS_WITH_OPTIONS, log_epsilon=definition.log_epsilon
        ),
        "truth_ratio": truth_ratio(
            inputs,
            forget_form=definition.forget_form if is_to_forget(set_name) else None,
            wrong_answers=definition.wrong_answers,
            log_epsilon=definition.log_epsilon,
        ),
        "token_entropy": token_entropy(inputs, tokens=definition.entropy_tokens),
        "cosine_similarity": cosine_similarity(inputs, target=definition.cosine_target),
        "entailment": entailment(inputs, recall),
    }
    return values | {metric: Missing(inputs.missing[metric]) for metric in METRICS if metric in inputs.missing}


def uncounted_metrics(inputs: MetricInputs, definition: Definition) -> dict[UncountedMetric, float | Missing]:
    """Compute the metrics of one question that no aggregate includes.

    Args:
        inputs: Output and likelihoods.
        definition: The score definition, which names them.

    Returns:
        Metric -> a number in [0, 1], or why the source does not have one; without those that it says nothing about.
    """
    found: dict[UncountedMetric, float | Missing] = {}
    for metric in definition.uncounted_metrics:
        value = _UNCOUNTED[metric](inputs, definition)
        if metric in inputs.missing:
            found[metric] = Missing(inputs.missing[metric])
        elif value is not None:
            found[metric] = value
    return found


def _strength(inputs: MetricInputs, definition: Definition) -> float | None:
    form = definition.memorization_form
    if inputs.predicted:  # empty where the answer's only token has characters of the prompt, too, and is not scored
        return extraction_strength(inputs.predicted, form=form)
    return inputs.logged_extraction_strength if form == "open-unlearning" else None


def _exact(inputs: MetricInputs, _: Definition) -> float | None:
    return exact_memorization(inputs.predicted) if inputs.predicted else inputs.logged_exact_memorization


def _prob_mean(inputs: MetricInputs, definition: Definition) -> float | None:
    correct, wrong = inputs.paraphrase_logp, inputs.perturbed_logps
    if correct is None or not wrong:
        return None
    combine, log_epsilon = definition.wrong_answers, definition.log_epsilon
    return correct_share(correct, wrong, wrong_answers=combine, log_epsilon=log_epsilon)


def _rouge_1(inputs: MetricInputs, _: Definition) -> float | None:
    if inputs.answer is None or inputs.output is None:
        return None
    if "rouge" in inputs.missing or isinstance(rouge(inputs), Missing):  # not asked, or no word in the answer
        return None
    return rouge_1_recall(inputs.answer, inputs.output)


_UNCOUNTED: dict[UncountedMetric, Callable[[MetricInputs, Definition], float | None]] = {
    "extraction_strength": _strength,
    "exact_memorization": _exact,
    "not_gibberish": lambda inputs, _: inputs.not_gibberish,
    "truth_ratio_prob_mean": _prob_mean,
    "rouge_1_recall": _rouge_1,
}


def score_set(
    name: str, questions: Iterable[MetricInputs], definition: Definition, custom: Sequence[str] = ()
) -> ScoredSet:
    """Average each metric over the questions of one set, holding one question at a time.

    A metric that only some questions have is None: a mean over fewer questions would not be comparable.

    Args:
        name: Name of the set.
        questions: Metric inputs of its questions.
        definition: The score definition.
        custom: Names of the custom metrics.

    Returns:
        The means, and why some are missing.
    """
    columns: dict[str, _Column] = {metric: _Column() for metric in (*METRICS, *custom)}
    embedders, judges, detectors, counted, n = set(), set(), set(), set(), 0
    for inputs in questions:
        n += 1
        six = question_metrics(inputs, set_name=name, definition=definition)
        uncounted = uncounted_metrics(inputs, definition)
        others = dict.fromkeys((*custom, *inputs.custom))
        named = ((each, find_custom_score(inputs, each)) for each in others)
        for metric, value in (*six.items(), *uncounted.items(), *named):
            columns.setdefault(metric, _Column()).add(inputs.id, value)
        embedders.add(inputs.embedder)
        judges.add(inputs.judge)
        detectors.add(inputs.gibberish_detector)
        counted.add(counted_tokens(inputs, definition.entropy_tokens))
    built_in = {*METRICS, *UNCOUNTED_METRICS}
    scores = SetScores(
        n=n,
        **{metric: columns[metric].mean() for metric in METRICS},
        **{metric: columns[metric].mean(n) for metric in UNCOUNTED_METRICS if metric in columns},
        custom={metric: column.mean() for metric, column in columns.items() if metric not in built_in},
    )
    return ScoredSet(
        scores=scores,
        gaps=[column.gap(name, metric, n) for metric, column in columns.items() if column.reasons],
        embedders={each for each in embedders if each is not None},
        judges={each for each in judges if each is not None},
        gibberish_detectors={each for each in detectors if each is not None},
        entropy_tokens={each for each in counted if each is not None},
    )


def explain_gaps(gaps: Iterable[Gap]) -> dict[str, str]:
    """Explain missing metrics.

    Args:
        gaps: Those of all sets.

    Returns:
        Metric -> one sentence: the sets without it, with counts where only some questions do not have it, and why.
    """
    by_metric: dict[str, dict[str, list[str]]] = {}
    for gap in gaps:
        part = gap.set
        if gap.count < gap.n:
            part += f" ({gap.count} of {gap.n} questions, first {gap.first})"
        by_metric.setdefault(gap.metric, {}).setdefault(gap.reason, []).append(part)
    return {
        metric: "; ".join(f"{', '.join(parts)}: {reason}" for reason, parts in reasons.items())
        for metric, reasons in by_metric.items()
    }


@dataclass
class _Column:
    """One metric of a set, question by question."""

    numbers: array[float] = field(default_factory=lambda: array("d"))
    first: str = ""
    """Id of the first question without it."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Of the questions without it."""

    def add(self, question: str, value: float | Missing) -> None:
        if not isinstance(value, Missing):
            self.numbers.append(value)
            return
        self.first = self.first if self.reasons else question
        self.reasons[value.reason] += 1

    def mean(self, n: int | None = None) -> float | None:
        """None where a question has none: one with a reason, or, of `n` questions, one without."""
        incomplete = self.reasons or n not in (None, len(self.numbers))
        return None if incomplete else mean(self.numbers)

    def gap(self, name: str, metric: str, n: int) -> Gap:
        reason = self.reasons.most_common(1)[0][0]
        return Gap(set=name, metric=metric, count=self.reasons.total(), n=n, first=self.first, reason=reason)
