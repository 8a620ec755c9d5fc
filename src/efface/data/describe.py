"""Statistics of a task's data: counts, lengths, repetitions, overlap of forget and retain set, metrics. No torch."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from efface.artifacts import Metric
from efface.data.task_checks import normalize, prompt_key
from efface.frozen import FrozenModel
from efface.schema import EvaluationSet, Item, Task, Turn

ItemType = Literal["questions", "conversations", "passages"]

RUN_OF_WORDS = 8
"""Number of consecutive words that two answers must share to count as overlapping."""

_WORD = re.compile(r"\w+")
_ROUGE_WORD = re.compile("[a-z0-9]")
"""A token of rouge-score has these alone."""
_BY_WORDS = "by words alone, where a wrong fact in the right sentence counts as correct"


class Lengths(FrozenModel):
    """Distribution of the lengths of a set's items, prompt and answer together."""

    unit: Literal["characters", "tokens"]
    minimum: int
    median: int
    p95: int
    """95th percentile."""
    maximum: int
    limit: int | None = None
    """Maximum length that the model accepts; None if unknown."""
    beyond_limit: int = 0
    """Number of items that are longer than `limit`."""


MeasureLengths = Callable[[Sequence[Item]], Lengths]


class WrongAnswers(FrozenModel):
    """Number of wrong answers per item."""

    minimum: int
    maximum: int


class SetDescription(FrozenModel):
    """Statistics of one set of items."""

    count: int
    item_types: dict[ItemType, int]
    conversations: int
    """Number of conversations that the items of the type `conversations` are from; each answer is an item."""
    wrong_answers: WrongAnswers | None
    """None if no item has wrong answers."""
    lengths: Lengths
    repeated: int
    """Number of items with the prompt and answer of an earlier one, ignoring case and white space."""


class SharedWords(FrozenModel):
    """A forget and a retain item whose answers share `RUN_OF_WORDS` consecutive words."""

    forget: str
    retain: str
    words: str


class Overlap(FrozenModel):
    """Overlap of forget and retain set; both numbers count forget items."""

    same_question: int
    """Items whose prompt is in the retain set, with a different answer."""
    shared_words: int
    first_shared: SharedWords | None


class ExampleItem(FrozenModel):
    """An example item of a set."""

    set: Literal["forget", "retain"]
    id: str
    history: tuple[Turn, ...]
    """Messages before the question, including a system prompt."""
    question: str
    answer: str


class Description(FrozenModel):
    """Statistics of a task, as `efface data check` prints them."""

    task: str
    forget: SetDescription
    retain: SetDescription | None
    """None if there is no retain set, or if it will consist of a model's answers."""
    evaluation: dict[str, SetDescription]
    overlap: Overlap
    missing: dict[Metric, str]
    """Metric that cannot be computed -> reason."""
    judged: str
    """How the verdict decides whether an answer is given."""
    samples: tuple[ExampleItem, ...]
    warnings: tuple[str, ...]


def describe(
    task: Task, *, embedder: str, judge: str, measure: MeasureLengths | None = None, samples: int = 2
) -> Description:
    """Describe a task, in time linear in the number of words.

    Args:
        task: The task.
        embedder: Setting `evaluate.embedder`.
        judge: Setting `evaluate.judge`.
        measure: Measures the lengths of items; None counts characters.
        samples: Number of example items of the forget and of the retain set.

    Returns:
        The statistics.
    """
    measure = measure or character_lengths
    examples: tuple[tuple[Literal["forget", "retain"], Item], ...] = (
        *(("forget", item) for item in task.forget[:samples]),
        *(("retain", item) for item in task.retain[:samples]),
    )
    return Description(
        task=task.name,
        forget=_describe_set(task.forget, measure),
        retain=_describe_set(task.retain, measure) if task.retain else None,
        evaluation={each.name: _describe_set(each.items, measure) for each in task.evaluation},
        overlap=find_overlap(task.forget, task.retain),
        missing=missing_metrics(task.evaluation, embedder=embedder, judge=judge),
        judged=how_judged(task.evaluation, judge=judge),
        samples=tuple(
            ExampleItem(set=name, id=item.id, history=item.history, question=item.question, answer=item.answer)
            for name, item in examples
        ),
        warnings=task.warnings,
    )


def summarize_lengths(
    lengths: Sequence[int], unit: Literal["characters", "tokens"], limit: int | None = None
) -> Lengths:
    """Compute the distribution of lengths.

    Args:
        lengths: At least one length.
        unit: Unit of the lengths.
        limit: Maximum length that the model accepts; None if unknown.

    Returns:
        The distribution; median and 95th percentile are lengths that occur.
    """
    ordered = sorted(lengths)
    return Lengths(
        unit=unit,
        minimum=ordered[0],
        median=_quantile(ordered, 0.5),
        p95=_quantile(ordered, 0.95),
        maximum=ordered[-1],
        limit=limit,
        beyond_limit=0 if limit is None else sum(length > limit for length in ordered),
    )


def character_lengths(items: Sequence[Item]) -> Lengths:
    """Measure items in characters of history, question and answer, without a chat template."""
    return summarize_lengths(
        [sum(len(turn.content) for turn in item.history) + len(item.question) + len(item.answer) for item in items],
        "characters",
    )


def find_overlap(forget: Sequence[Item], retain: Sequence[Item]) -> Overlap:
    """Count forget items whose prompt, or part of whose answer, is in the retain set.

    Args:
        forget: The forget set.
        retain: The retain set.

    Returns:
        The counts and the first pair of overlapping answers.
    """
    retain_prompts = {prompt_key(item) for item in retain}
    first_with: dict[str, str] = {}  # run of words -> id of the first retain item that contains it
    for item in retain:
        for run in _word_runs(item.answer):
            first_with.setdefault(run, item.id)
    shared = []
    for item in forget:
        if words := next((run for run in _word_runs(item.answer) if run in first_with), None):
            shared.append(SharedWords(forget=item.id, retain=first_with[words], words=words))
    return Overlap(
        same_question=sum(prompt_key(item) in retain_prompts for item in forget),
        shared_words=len(shared),
        first_shared=shared[0] if shared else None,
    )


def missing_metrics(sets: Sequence[EvaluationSet], *, embedder: str, judge: str) -> dict[Metric, str]:
    """Find the metrics that cannot be computed because of the data or the settings.

    A metric needs its columns in every item of a set. Sets that are not asked have no metric that could be missing.

    Args:
        sets: The evaluation sets.
        embedder: Setting `evaluate.embedder`.
        judge: Setting `evaluate.judge`.

    Returns:
        Metric -> reason.
    """
    missing: dict[Metric, str] = {}
    sets = [each for each in sets if each.max_new_tokens != 0]
    if where := _sets_without(sets, lambda item: bool(_ROUGE_WORD.search(item.scored_answer.lower()))):
        missing["rouge"] = f"no letter a-z or digit, which alone ROUGE counts, in answers of {where}"
        missing["entailment"] = "it needs ROUGE"
    if where := _sets_without(sets, lambda item: bool(item.perturbed_answers)):
        missing["truth_ratio"] = f"no wrong answers (perturbed_answers) in {where}"
    if embedder == "none":
        missing["cosine_similarity"] = "switched off by evaluate.embedder=none"
    if judge == "none":
        missing["entailment"] = "switched off by evaluate.judge=none"
    elif judge == "key-facts" and (where := _sets_without(sets, lambda item: item.key_fact is not None)):
        missing["entailment"] = f"no key fact (key_fact) for the judge key-facts in {where}"
    return missing


def how_judged(sets: Sequence[EvaluationSet], *, judge: str) -> str:
    """Say what will decide whether an answer is given, and how to have it decided by the fact.

    Args:
        sets: The evaluation sets.
        judge: Setting `evaluate.judge`.
    """
    sets = [each for each in sets if each.max_new_tokens != 0 and not each.key_facts_only]
    where = _sets_without(sets, lambda item: item.key_fact is not None)
    if judge == "none":
        remedy = "add key_fact and set" if where else "set"
        return f"{_BY_WORDS}; {remedy} evaluate.judge=key-facts"
    if not where:
        return "by the key facts" if judge == "key-facts" else f"by the judge (evaluate.judge={judge})"
    if judge == "key-facts":
        return f"{_BY_WORDS}, in {where}: add key_fact"
    if judge == "default":
        return f"by the judge or, if it cannot be loaded, {_BY_WORDS}, in {where}: add key_fact"
    return f"by the judge (evaluate.judge={judge})"


def _describe_set(items: Sequence[Item], measure: MeasureLengths) -> SetDescription:
    conversations = {_row_id(item) for item in items if item.history}  # the first answer of one may have no history
    wrong_answers = [len(item.perturbed_answers) for item in items]
    return SetDescription(
        count=len(items),
        item_types=dict(Counter(_item_type(item, conversations) for item in items)),
        conversations=len(conversations),
        wrong_answers=(
            WrongAnswers(minimum=min(wrong_answers), maximum=max(wrong_answers)) if any(wrong_answers) else None
        ),
        lengths=measure(items),
        repeated=len(items) - len({(prompt_key(item), normalize(item.answer)) for item in items}),
    )


def _row_id(item: Item) -> str:
    """The id of the item's row: `forget/0001` for `forget/0001/2`, the second answer of a conversation."""
    return "/".join(item.id.split("/")[:2])


def _item_type(item: Item, conversations: set[str]) -> ItemType:
    if item.passage:
        return "passages"
    return "conversations" if _row_id(item) in conversations else "questions"


def _quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that is at least as large as `share` of all values."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def _word_runs(text: str) -> Iterator[str]:
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - RUN_OF_WORDS + 1):
        yield " ".join(words[start : start + RUN_OF_WORDS])


def _sets_without(sets: Sequence[EvaluationSet], has: Callable[[Item], bool]) -> str:
    """Names of the sets with an item for which `has` is false, and the number of such items."""
    counts = {each.name: (sum(not has(item) for item in each.items), len(each.items)) for each in sets}
    return ", ".join(f"{name} ({without} of {total})" for name, (without, total) in counts.items() if without)
