"""Evaluate a model: write one record per question, with its output and likelihoods. Scores are computed later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from efface.artifacts import Metric, UncountedMetric
from efface.distributed import map_over_ranks
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import EncodedQuestion, encode_evaluation, evaluated_items, retokenize
from efface.evaluation.generate import Generation
from efface.evaluation.journal import Journal
from efface.evaluation.judges import Judges
from efface.evaluation.key_fact_judge import KeyFactJudge
from efface.evaluation.likelihoods import Likelihoods, likelihoods
from efface.evaluation.nli_judge import Claim, EntailmentVerdict
from efface.evaluation.outputs import generate_outputs
from efface.records import Record
from efface.schema import EvaluationSet, Item
from efface.text.formatter import PromptFormatter

Progress = Callable[[str, float, int], None]
"""Called with the stage (`likelihoods`, `outputs`, `judges`), how many questions are done, and how many there are. A
question that is done in part counts for that part."""


@dataclass(frozen=True)
class _SetItem:
    set: EvaluationSet
    item: Item


@dataclass(frozen=True)
class _Judgment:
    cosine_answer: float | None
    cosine_before: float | None
    verdict: EntailmentVerdict
    not_gibberish: float | None = None


_NOT_ASKED = "the set has texts without questions, of which only the likelihoods are computed"
_NOT_JUDGED = _Judgment(None, None, EntailmentVerdict(None, _NOT_ASKED))
_OF_OUTPUTS: tuple[Metric, ...] = ("rouge", "token_entropy", "cosine_similarity", "entailment")
"""Metrics that need an output."""
_DETECTOR_TOKENS, _DETECTOR_TOKENS_OF_PASSAGES = 32, 512
"""How much of an output the gibberish detector reads, as in open-unlearning: of TOFU's answers and of MUSE's texts."""


def evaluate(
    model: Any,
    formatter: PromptFormatter,
    sets: Sequence[EvaluationSet],
    *,
    config: EvaluateConfig,
    judges: Judges,
    before: Mapping[str, Sequence[Record]] | None,
    questions: Sequence[EncodedQuestion] | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
    on_ready: Callable[[], None] | None = None,
) -> dict[str, list[Record]]:
    """Evaluate a model on its device. Questions of all sets are batched together.

    Args:
        model: A causal language model.
        formatter: Its tokenizer and prompt format.
        sets: Evaluation sets.
        config: Settings of generation and likelihoods.
        judges: The models that judge outputs.
        before: Records of the model before unlearning; None if `model` is that model.
        questions: What `encode_evaluation` returned for these sets and a model of the same architecture; None to
            encode them now.
        progress: Called as the evaluation proceeds.
        journal: Has results from before a kill, and gets those of each batch.
        on_ready: Called once everything was checked, before anything is computed.

    Returns:
        Set name -> records, in the order of the set's items.

    Raises:
        EffaceError: When an answer or an output does not fit into the model, the model gives a log-probability that
            is not finite, or `before` has no record of a question.
    """
    report = progress or _ignore
    set_items = _set_items(sets, config)
    total = len(set_items)
    outputs_before = None if before is None else _outputs_before(set_items, before)
    if questions is None:
        questions = encode_evaluation(model, formatter, sets, config)

    if on_ready is not None:
        on_ready()
    report("likelihoods", 0, total)
    answers = likelihoods(
        model,
        questions,
        max_tokens_per_forward=config.max_tokens_per_forward,
        journal=journal,
        progress=lambda share: report("likelihoods", share * total, total),
    )
    report("likelihoods", total, total)
    generations = generate_outputs(
        model,
        formatter,
        questions,
        max_cache_tokens=config.max_cache_tokens,
        engine=config.engine,
        progress=lambda done: report("outputs", done, total),
        journal=journal,
    )
    retokenized = retokenize(formatter.tokenizer, [generation.text for generation in generations])
    report("judges", 0, total)
    outputs = [generation.text for generation in generations]
    judgments = _judge_outputs(
        set_items,
        outputs,
        outputs_before,
        judges,
        journal=journal,
        progress=lambda share: report("judges", share * total, total),
    )
    report("judges", total, total)

    records: dict[str, list[Record]] = {set_.name: [] for set_ in sets}
    for set_item, likelihood, generation, ids, judgment in zip(
        set_items, answers, generations, retokenized, judgments, strict=True
    ):
        end = 0 if set_item.item.passage else formatter.end_length
        records[set_item.set.name].append(
            _record(set_item, likelihood, generation, ids, judgment, judges=judges, end_length=end)
        )
    return records


def check_before_records(
    sets: Sequence[EvaluationSet], before: Mapping[str, Sequence[Record]], config: EvaluateConfig
) -> None:
    """Check that there are records from before unlearning for every question.

    Args:
        sets: Evaluation sets.
        before: Set name -> records of the model before unlearning.
        config: `limit` cuts each set.

    Raises:
        EffaceError: When the record of a question is missing, or is of a question with the same id and other texts.
    """
    _outputs_before(_set_items(sets, config), before)


def _ignore(*_: object) -> None:
    pass


def _set_items(sets: Sequence[EvaluationSet], config: EvaluateConfig) -> list[_SetItem]:
    return [_SetItem(set_, item) for set_ in sets for item in evaluated_items(set_, config)]


def _outputs_before(set_items: Sequence[_SetItem], before: Mapping[str, Sequence[Record]]) -> list[str]:
    by_id = {(name, record.id): record for name, records in before.items() for record in records}
    outputs = []
    for set_item in set_items:
        name, item = set_item.set.name, set_item.item
        record = by_id.get((name, item.id))
        # ids of user files are line numbers: another file has the same ones
        if record is None or (record.question, record.answer) != (item.question, item.scored_answer):
            problem = "do not include" if record is None else "have other texts for"
            raise EffaceError(
                f"the records from before unlearning {problem} question {item.id!r} of set {name!r}; "
                "evaluate both models on the same sets with the same evaluate.limit"
            )
        outputs.append(record.output)
    return outputs


def _judge_outputs(
    set_items: Sequence[_SetItem],
    outputs: Sequence[str],
    before: Sequence[str] | None,
    judges: Judges,
    *,
    journal: Journal | None,
    progress: Callable[[float], None],
) -> list[_Judgment]:
    """Judge every output of a question that was asked; with several processes, each judges a part."""
    asked = [index for index, set_item in enumerate(set_items) if set_item.set.max_new_tokens != 0]

    def judge(positions: list[int]) -> list[_Judgment]:
        indices = [asked[position] for position in positions]
        part = [set_items[index] for index in indices]
        part_before = None if before is None else [before[index] for index in indices]
        said = [outputs[index] for index in indices]
        return _judge(part, said, part_before, judges, journal=journal, progress=progress)

    try:
        judged = dict(zip(asked, map_over_ranks(len(asked), judge), strict=True))
        return [judged.get(index, _NOT_JUDGED) for index in range(len(set_items))]
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            "the GPU's memory does not hold both the evaluated model and the models that judge outputs; set "
            "evaluate.embedder=none, evaluate.judge=key-facts or evaluate.gibberish_detector=none, or use device=cpu"
        ) from error


def _judge(
    set_items: Sequence[_SetItem],
    outputs: Sequence[str],
    before: Sequence[str] | None,
    judges: Judges,
    *,
    journal: Journal | None,
    progress: Callable[[float], None],
) -> list[_Judgment]:
    if not set_items:
        return []
    cosines_answer: list[float | None] = [None] * len(set_items)
    cosines_before = cosines_answer
    if judges.embedder is not None:
        targets = [set_item.item.embedding_target for set_item in set_items]
        cosines_answer = [*judges.embedder.cosines(outputs, targets)]
        # the model before unlearning is compared with itself
        cosines_before = [1.0] * len(set_items) if before is None else [*judges.embedder.cosines(outputs, before)]
    verdicts = _verdicts(set_items, outputs, judges, journal=journal, progress=progress)
    readable = _not_gibberish(set_items, outputs, judges)
    return [_Judgment(*fields) for fields in zip(cosines_answer, cosines_before, verdicts, readable, strict=True)]


def _not_gibberish(set_items: Sequence[_SetItem], outputs: Sequence[str], judges: Judges) -> Sequence[float | None]:
    if judges.gibberish_detector is None:
        return [None] * len(outputs)
    passages = (set_item.item.passage for set_item in set_items)
    max_tokens = [_DETECTOR_TOKENS_OF_PASSAGES if passage else _DETECTOR_TOKENS for passage in passages]
    return judges.gibberish_detector.probabilities(outputs, max_tokens)


def _verdicts(
    set_items: Sequence[_SetItem],
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


def _claim(set_item: _SetItem, output: str) -> Claim:
    item = set_item.item
    return Claim(output, item.entailment_target, item.key_fact, set_item.set.entailment_premise)


def _record(
    set_item: _SetItem,
    likelihood: Likelihoods,
    generation: Generation,
    retokenized: list[int],
    judgment: _Judgment,
    *,
    judges: Judges,
    end_length: int,
) -> Record:
    item = set_item.item
    judge = KeyFactJudge if set_item.set.key_facts_only else judges.judge
    missing: dict[Metric | UncountedMetric, str] = {}
    if not item.perturbed_answers:
        missing["truth_ratio"] = "the question has no perturbed answers"
    if judges.embedder is None:
        missing["cosine_similarity"] = judges.missing["cosine_similarity"]
    asked = set_item.set.max_new_tokens != 0
    if asked and "not_gibberish" in judges.missing:
        missing["not_gibberish"] = judges.missing["not_gibberish"]
    if judgment.verdict.reason is not None:
        missing["entailment"] = judgment.verdict.reason
    if not asked:
        missing |= dict.fromkeys(_OF_OUTPUTS, _NOT_ASKED)
    return Record(
        set=set_item.set.name,
        id=item.id,
        question=item.question,
        answer=item.scored_answer,
        output=generation.text,
        output_token_ids=generation.token_ids,
        retokenized_output_ids=retokenized,
        answer_logprobs=likelihood.answer,
        answer_predicted=likelihood.answer_predicted[: len(likelihood.answer) - end_length],
        paraphrased_logprobs=likelihood.paraphrased,
        perturbed_logprobs=likelihood.perturbed,
        embedding_target=item.embedding_target,
        embedder=None if judges.embedder is None else judges.embedder.name,
        cosine_answer=judgment.cosine_answer,
        cosine_before=judgment.cosine_before,
        entailment_target=item.entailment_target,
        entailment_premise=set_item.set.entailment_premise,
        judge=None if judge is None else judge.name,
        entailment_label=judgment.verdict.label,
        gibberish_detector=None if judges.gibberish_detector is None else judges.gibberish_detector.name,
        not_gibberish=judgment.not_gibberish,
        missing=missing,
        extra_metrics=list(set_item.set.extra_metrics),
    )
