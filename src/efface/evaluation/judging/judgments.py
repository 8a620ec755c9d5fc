"""Judge outputs with every model that is there: similarity, entailment, and whether they are readable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from efface.errors import EffaceError
from efface.evaluation.journal import Journal
from efface.evaluation.judging.judges import Judges
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.evaluation.judging.nli_judge import Claim, EntailmentVerdict
from efface.schema import EvaluationSet, Item

_DETECTOR_TOKENS, _DETECTOR_TOKENS_OF_PASSAGES = 32, 512
"""How much of an output the gibberish detector reads, as in open-unlearning: of TOFU's answers and of MUSE's texts."""


@dataclass(frozen=True)
class SetItem:
    """A question, and the set that it is of."""

    set: EvaluationSet
    item: Item


@dataclass(frozen=True)
class Judgment:
    """What the models say of one output; None where there is no such model."""

    cosine_answer: float | None
    """Similarity to the reference answer."""
    cosine_before: float | None
    """Similarity to the output before unlearning."""
    verdict: EntailmentVerdict
    not_gibberish: float | None = None
    """Probability that it is readable text."""


NOT_ASKED = "the set has texts without questions, of which only the likelihoods are computed"
_NOT_JUDGED = Judgment(None, None, EntailmentVerdict(None, NOT_ASKED))


def judge_outputs(
    set_items: Sequence[SetItem],
    outputs: Sequence[str],
    before: Sequence[str] | None,
    judges: Judges,
    *,
    journal: Journal | None,
    progress: Callable[[float], None],
) -> list[Judgment]:
    """Judge every output of a question that was asked, in this process.

    Args:
        set_items: The questions.
        outputs: An output for each.
        before: The outputs before unlearning; None if these are of the model before.
        judges: The models that judge.
        journal: Where verdicts of entailment are kept until the records are written.
        progress: Called with the share of the outputs that is judged.

    Returns:
        A judgment for each question.

    Raises:
        EffaceError: The GPU's memory does not hold these models and the evaluated one.
    """
    asked = [index for index, set_item in enumerate(set_items) if set_item.set.max_new_tokens != 0]
    items, said = [set_items[index] for index in asked], [outputs[index] for index in asked]
    said_before = None if before is None else [before[index] for index in asked]
    try:
        judgments = _judge(items, said, said_before, judges, journal=journal, progress=progress)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            "the GPU's memory does not hold both the evaluated model and the models that judge outputs; set "
            "evaluate.embedder=none, evaluate.judge=key-facts or evaluate.gibberish_detector=none, or use device=cpu"
        ) from error
    judged = dict(zip(asked, judgments, strict=True))
    return [judged.get(index, _NOT_JUDGED) for index in range(len(set_items))]


def _judge(
    set_items: Sequence[SetItem],
    outputs: Sequence[str],
    before: Sequence[str] | None,
    judges: Judges,
    *,
    journal: Journal | None,
    progress: Callable[[float], None],
) -> list[Judgment]:
    if not set_items:
        return []
    cosines_answer, cosines_before = _cosines(set_items, outputs, before, judges)
    verdicts = _verdicts(set_items, outputs, judges, journal=journal, progress=progress)
    readable = _not_gibberish(set_items, outputs, judges)
    return [Judgment(*fields) for fields in zip(cosines_answer, cosines_before, verdicts, readable, strict=True)]


def _cosines(
    set_items: Sequence[SetItem], outputs: Sequence[str], before: Sequence[str] | None, judges: Judges
) -> tuple[Sequence[float | None], Sequence[float | None]]:
    """Similarity of each output to the reference answer, and to the output before unlearning."""
    if judges.embedder is None:
        return [None] * len(outputs), [None] * len(outputs)
    targets = [set_item.item.embedding_target for set_item in set_items]
    if before is None:  # the model before unlearning is compared with itself
        return judges.embedder.cosines(outputs, targets)[0], [1.0] * len(outputs)
    of_answers, of_before = judges.embedder.cosines(outputs, targets, before)
    return of_answers, of_before


def _not_gibberish(set_items: Sequence[SetItem], outputs: Sequence[str], judges: Judges) -> Sequence[float | None]:
    if judges.gibberish_detector is None:
        return [None] * len(outputs)
    passages = (set_item.item.passage for set_item in set_items)
    max_tokens = [_DETECTOR_TOKENS_OF_PASSAGES if passage else _DETECTOR_TOKENS for passage in passages]
    return judges.gibberish_detector.probabilities(outputs, max_tokens)


def _verdicts(
    set_items: Sequence[SetItem],
    outputs: Sequence[str],
    judges: Judges,
    *,
    journal: Journal | None,
    progress: Callable[[float], None],
) -> list[EntailmentVerdict]:
    """Judge every output, of some sets by key facts alone."""
    claims = [_claim(set_item, output) for set_item, output in zip(set_items, outputs, strict=True)]
    verdicts = KeyFactJudge().verdicts(claims)
    others = [index for index, set_item in enumerate(set_items) if not set_item.set.key_facts_only]
    if judges.judge is None:
        judged = [EntailmentVerdict(None, judges.missing["entailment"])] * len(others)
    else:
        judged = judges.judge.verdicts([claims[index] for index in others], journal, progress)
    for index, verdict in zip(others, judged, strict=True):
        verdicts[index] = verdict
    return verdicts


def _claim(set_item: SetItem, output: str) -> Claim:
    item = set_item.item
    return Claim(output, item.entailment_target, item.key_fact, set_item.set.entailment_premise)
