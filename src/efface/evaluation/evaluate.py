"""Evaluate a model: write one record per question, with its output and likelihoods. Scores are computed later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from efface import distributed
from efface.artifacts import Metric, UncountedMetric
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import EncodedQuestion, encode_evaluation, evaluated_items, retokenize
from efface.evaluation.generate import Generation
from efface.evaluation.journal import Journal
from efface.evaluation.judging.judges import Judges
from efface.evaluation.judging.judgments import NOT_ASKED, Judgment, SetItem, judge_outputs
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.evaluation.likelihoods import Likelihoods, likelihoods
from efface.evaluation.outputs import generate_outputs
from efface.main_process import map_over_ranks, on_main_process
from efface.records import Record, RecordSets
from efface.schema import EvaluationSet
from efface.text.formatter import PromptFormatter

Progress = Callable[[str, float, int], None]
"""Called with the stage (`likelihoods`, `outputs`, `judges`), how many questions are done, and how many there are. A
question that is done in part counts for that part."""


_OF_OUTPUTS: tuple[Metric, ...] = ("rouge", "token_entropy", "cosine_similarity", "entailment")
"""Metrics that need an output."""


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
) -> RecordSets:
    """Evaluate a model on its device. Questions of all sets are batched together.

    Of several processes, each asks and judges a part of the questions, and the main one alone gets the records.

    Args:
        model: A causal language model.
        formatter: Its tokenizer and prompt format.
        sets: Evaluation sets.
        config: Settings of generation and likelihoods.
        judges: The models that judge outputs.
        before: Records of the model before unlearning, which the main process reads; None if `model` is that model.
        questions: What `encode_evaluation` returned for these sets and a model of the same architecture; None to
            encode them now.
        progress: Called as the evaluation proceeds.
        journal: Has results from before a kill, and gets those of each batch.
        on_ready: Called once everything was checked, before anything is computed.

    Returns:
        Set name -> records, in the order of the set's items; no set in a process that is not the main one.

    Raises:
        EffaceError: When an answer or an output does not fit into the model, the model gives a log-probability that
            is not finite, or `before` has no record of a question.
    """
    report = progress or _ignore
    set_items = _set_items(sets, config)
    total = len(set_items)
    own_before = None
    if before is not None:
        own_before = distributed.scatter(on_main_process(lambda: _outputs_before(set_items, before)))
    encoded = encode_evaluation(model, formatter, sets, config) if questions is None else questions
    if on_ready is not None:
        on_ready()
    report("likelihoods", 0, total)
    answers = likelihoods(
        model,
        encoded,
        max_tokens_per_forward=config.max_tokens_per_forward,
        journal=journal,
        progress=lambda share: report("likelihoods", share * total, total),
    )
    report("likelihoods", total, total)

    def ask(indices: list[int]) -> list[_Output]:
        return _ask(
            model,
            formatter,
            [set_items[index] for index in indices],
            [encoded[index] for index in indices],
            own_before,
            config=config,
            judges=judges,
            journal=journal,
            report=lambda stage, done, own: report(stage, done * total / own, total),
        )

    outputs = map_over_ranks(total, ask)
    report("judges", total, total)
    if not distributed.is_main_process():
        return {}
    records: RecordSets = {set_.name: [] for set_ in sets}
    for set_item, likelihood, output in zip(set_items, answers, outputs, strict=True):
        records[set_item.set.name].append(
            _record(set_item, likelihood, output, judges=judges, end_length=formatter.end_length)
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


class _Output(NamedTuple):
    """What a model says to a question, and what is said about it."""

    generation: Generation
    retokenized: list[int]
    judgment: Judgment


def _ask(
    model: Any,
    formatter: PromptFormatter,
    set_items: Sequence[SetItem],
    questions: Sequence[EncodedQuestion],
    before: Sequence[str] | None,
    *,
    config: EvaluateConfig,
    judges: Judges,
    journal: Journal | None,
    report: Progress,
) -> list[_Output]:
    """Ask some questions, those of this process, and judge the outputs."""
    generations = generate_outputs(
        model,
        formatter,
        questions,
        max_cache_tokens=config.max_cache_tokens,
        engine=config.engine,
        progress=lambda done: report("outputs", done, len(questions)),
        journal=journal,
    )
    distributed.barrier()  # until the last output, a sharded model needs every process
    texts = [generation.text for generation in generations]
    report("judges", 0, 1)
    judgments = judge_outputs(
        set_items, texts, before, judges, journal=journal, progress=lambda share: report("judges", share, 1)
    )
    retokenized = retokenize(formatter.tokenizer, texts)
    return [_Output(*fields) for fields in zip(generations, retokenized, judgments, strict=True)]


def _set_items(sets: Sequence[EvaluationSet], config: EvaluateConfig) -> list[SetItem]:
    return [SetItem(set_, item) for set_ in sets for item in evaluated_items(set_, config)]


def _outputs_before(set_items: Sequence[SetItem], before: Mapping[str, Sequence[Record]]) -> list[str]:
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


def _record(
    set_item: SetItem,
    likelihood: Likelihoods,
    output: _Output,
    *,
    judges: Judges,
    end_length: int,
) -> Record:
    item, judgment = set_item.item, output.judgment
    judge = KeyFactJudge if set_item.set.key_facts_only else judges.judge
    answer_length = len(likelihood.answer) - (0 if item.passage else end_length)  # without the end
    return Record(
        set=set_item.set.name,
        id=item.id,
        question=item.question,
        answer=item.scored_answer,
        output=output.generation.text,
        output_token_ids=output.generation.token_ids,
        retokenized_output_ids=output.retokenized,
        answer_logprobs=likelihood.answer,
        answer_predicted=likelihood.answer_predicted[:answer_length],
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
        missing=_missing(set_item, judgment, judges),
        extra_metrics=list(set_item.set.extra_metrics),
    )


def _missing(set_item: SetItem, judgment: Judgment, judges: Judges) -> dict[Metric | UncountedMetric, str]:
    """The metrics that a question has no value of, and why."""
    missing: dict[Metric | UncountedMetric, str] = {}
    if not set_item.item.perturbed_answers:
        missing["truth_ratio"] = "the question has no perturbed answers"
    if judges.embedder is None:
        missing["cosine_similarity"] = judges.missing["cosine_similarity"]
    asked = set_item.set.max_new_tokens != 0
    if asked and "not_gibberish" in judges.missing:
        missing["not_gibberish"] = judges.missing["not_gibberish"]
    if judgment.verdict.reason is not None:
        missing["entailment"] = judgment.verdict.reason
    if not asked:
        missing |= dict.fromkeys(_OF_OUTPUTS, NOT_ASKED)
    return missing
