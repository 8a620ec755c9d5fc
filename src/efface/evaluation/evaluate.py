"""Question a model and write down, one record per question, what it says and believes. Scores come later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from efface.artifacts import Metric, Record
from efface.distributed import map_over_ranks
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.generate import Generation, check_position_limit, generate
from efface.evaluation.judges import Judges
from efface.evaluation.likelihoods import Likelihoods, answer_rows, likelihoods
from efface.evaluation.nli_judge import Claim, Verdict
from efface.schema import EvaluationSet, Item
from efface.text.formatter import PromptFormatter

Progress = Callable[[str, int, int], None]
"""Told the stage (`likelihoods`, `outputs`, `judges`), how many questions are done, and of how many."""


@dataclass(frozen=True)
class _SetItem:
    set: EvaluationSet
    item: Item


@dataclass(frozen=True)
class _Judgment:
    cosine_answer: float | None
    cosine_before: float | None
    verdict: Verdict


def evaluate(
    model: Any,
    formatter: PromptFormatter,
    sets: Sequence[EvaluationSet],
    *,
    config: EvaluateConfig,
    judges: Judges,
    before: Mapping[str, Sequence[Record]] | None,
    progress: Progress | None = None,
) -> dict[str, list[Record]]:
    """Make the records of each set, by its name, in the order of its items.

    `before` holds the records of the model before unlearning; None says that `model` is that model. The
    questions of all sets are batched together, and everything runs on the model's device. Raises `EffaceError`
    where an answer or an output does not fit into the model, where the model gives no finite
    log-probability, or where `before` lacks a question.
    """
    report = progress or _ignore
    questions = _set_items(sets, config)
    items, total = [question.item for question in questions], len(questions)
    outputs_before = None if before is None else _outputs_before(questions, before)

    check_lengths(model, formatter, sets, config)
    report("likelihoods", 0, total)
    believed = likelihoods(model, formatter, items, max_tokens_per_forward=config.max_tokens_per_forward)
    report("likelihoods", total, total)
    said = generate(
        model,
        formatter,
        [item.prompt for item in items],
        max_new_tokens=config.max_new_tokens,
        max_cache_tokens=config.max_cache_tokens,
        progress=lambda done: report("outputs", done, total),
    )
    report("judges", 0, total)
    try:
        judged = _judged(questions, [generation.text for generation in said], outputs_before, judges)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            "the GPU's memory does not hold the models that judge outputs beside this one; set evaluate.embedder=none "
            "or evaluate.judge=key-facts, or use device=cpu"
        ) from error
    report("judges", total, total)

    records: dict[str, list[Record]] = {set_.name: [] for set_ in sets}
    for question, likelihood, generation, judgment in zip(questions, believed, said, judged, strict=True):
        records[question.set.name].append(_record(question, likelihood, generation, judgment, judges))
    return records


def check_before_records(
    sets: Sequence[EvaluationSet], before: Mapping[str, Sequence[Record]], config: EvaluateConfig
) -> None:
    """Check that records from before unlearning answer every question. Raises `EffaceError` for one that is lacking."""
    _outputs_before(_set_items(sets, config), before)


def check_lengths(
    model: Any, formatter: PromptFormatter, sets: Sequence[EvaluationSet], config: EvaluateConfig
) -> None:
    """Check, before the model is asked anything, that it has room for every answer and output.

    Raises `EffaceError` where it has not.
    """
    items = [item for set_ in sets for item in set_.items[: config.limit]]
    formatter.encode(answer_rows(items))
    check_position_limit(model, formatter.encode_prompts([item.prompt for item in items]), config.max_new_tokens)


def _ignore(*_: object) -> None:
    pass


def _set_items(sets: Sequence[EvaluationSet], config: EvaluateConfig) -> list[_SetItem]:
    return [_SetItem(set_, item) for set_ in sets for item in set_.items[: config.limit]]


def _outputs_before(questions: Sequence[_SetItem], before: Mapping[str, Sequence[Record]]) -> list[str]:
    known = {(name, record.id): record for name, records in before.items() for record in records}
    outputs = []
    for question in questions:
        name, item = question.set.name, question.item
        record = known.get((name, item.id))
        # ids of a user's own files are the numbers of their lines: another file has the same
        if record is None or (record.question, record.answer) != (item.question, item.scored_answer):
            problem = "lack" if record is None else "have other words for"
            raise EffaceError(
                f"the records from before unlearning {problem} question {item.id!r} of set {name!r}; "
                "evaluate both models on the same sets with the same evaluate.limit"
            )
        outputs.append(record.output)
    return outputs


def _judged(
    questions: Sequence[_SetItem], outputs: Sequence[str], before: Sequence[str] | None, judges: Judges
) -> list[_Judgment]:
    """Judge every output; of several processes, each has the models judge its part."""

    def judge(mine: list[int]) -> list[_Judgment]:
        said_before = None if before is None else [before[number] for number in mine]
        return _judge([questions[number] for number in mine], [outputs[number] for number in mine], said_before, judges)

    return map_over_ranks(len(questions), judge)


def _judge(
    questions: Sequence[_SetItem], outputs: Sequence[str], before: Sequence[str] | None, judges: Judges
) -> list[_Judgment]:
    if not questions:
        return []
    unknown: list[float | None] = [None] * len(questions)
    answer = change = unknown
    if judges.embedder is not None:
        answer = [*judges.embedder.cosines(outputs, [question.item.embedding_target for question in questions])]
        # a model before unlearning is compared with itself
        change = [1.0] * len(questions) if before is None else [*judges.embedder.cosines(outputs, before)]
    if judges.judge is None:
        verdicts = [Verdict(None, judges.missing["entailment"])] * len(questions)
    else:
        verdicts = judges.judge.verdicts(
            [
                Claim(output, question.item.entailment_target, question.item.key_fact, question.set.entailment_premise)
                for question, output in zip(questions, outputs, strict=True)
            ]
        )
    return [_Judgment(*row) for row in zip(answer, change, verdicts, strict=True)]


def _record(
    question: _SetItem, likelihood: Likelihoods, generation: Generation, judgment: _Judgment, judges: Judges
) -> Record:
    item = question.item
    missing: dict[Metric, str] = {}
    if not item.perturbed_answers:
        missing["truth_ratio"] = "the question has no perturbed answers"
    if judges.embedder is None:
        missing["cosine_similarity"] = judges.missing["cosine_similarity"]
    if judgment.verdict.reason is not None:
        missing["entailment"] = judgment.verdict.reason
    return Record(
        set=question.set.name,
        id=item.id,
        question=item.question,
        answer=item.scored_answer,
        output=generation.text,
        output_token_ids=generation.token_ids,
        answer_logprobs=likelihood.answer,
        paraphrased_logprobs=likelihood.paraphrased,
        perturbed_logprobs=likelihood.perturbed,
        embedding_target=item.embedding_target,
        embedder=None if judges.embedder is None else judges.embedder.name,
        cosine_answer=judgment.cosine_answer,
        cosine_before=judgment.cosine_before,
        entailment_target=item.entailment_target,
        entailment_premise=question.set.entailment_premise,
        judge=None if judges.judge is None else judges.judge.name,
        entailment_label=judgment.verdict.label,
        missing=missing,
    )
