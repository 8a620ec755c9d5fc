"""What a task's data hold: counts, lengths, repetitions, what forget and retain share, what can be scored. No torch."""

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
"""Two answers that share so many words in a row say the same thing, or come from the same text."""

_WORD = re.compile(r"\w+")


class Lengths(FrozenModel):
    """How long the items of a set are, prompt and answer together."""

    unit: Literal["characters", "tokens"]
    minimum: int
    median: int
    p95: int
    """No more than 5 % of the items are longer."""
    maximum: int
    limit: int | None = None
    """Most that the model takes, where there is one that says so."""
    beyond_limit: int = 0
    """How many items are longer than that."""


MeasureLengths = Callable[[Sequence[Item]], Lengths]


class WrongAnswers(FrozenModel):
    """How many wrong answers an item has."""

    minimum: int
    maximum: int


class SetDescription(FrozenModel):
    """One set of items, trained on or scored."""

    count: int
    kinds: dict[ItemType, int]
    conversations: int
    """How many those items come from whose kind is `conversations`: each answer in one is an item."""
    wrong_answers: WrongAnswers | None
    """None where no item has any."""
    lengths: Lengths
    repeated: int
    """Items with the question and the answer of an earlier one; case and white space tell nothing apart."""


class SharedWords(FrozenModel):
    """A forget and a retain item whose answers share `RUN_OF_WORDS` words in a row."""

    forget: str
    retain: str
    words: str


class Overlap(FrozenModel):
    """What is to be forgotten and yet stands in what is to be kept. Both numbers count forget items."""

    same_question: int
    """With another answer: the same answer is refused when the data is loaded."""
    shared_words: int
    first_shared: SharedWords | None


class Sample(FrozenModel):
    """An item as the model is to see it."""

    set: Literal["forget", "retain"]
    id: str
    history: tuple[Turn, ...]
    """What is said before the question, a system prompt included."""
    question: str
    answer: str


class Description(FrozenModel):
    """What `efface data describe` tells, and prints as JSON."""

    task: str
    forget: SetDescription
    retain: SetDescription | None
    """None where there is nothing to keep, or only what a model will answer."""
    evaluation: dict[str, SetDescription]
    overlap: Overlap
    missing: dict[Metric, str]
    """Metric that cannot be scored -> why."""
    samples: tuple[Sample, ...]
    warnings: tuple[str, ...]


def describe(
    task: Task, *, embedder: str, judge: str, measure: MeasureLengths | None = None, samples: int = 2
) -> Description:
    """Describe a task; the time it takes grows with the words of its items, not with their pairs.

    `embedder` and `judge` are those of `EvaluateConfig`; `measure` says how long items are, by default in
    characters; `samples` is how many of the first items of the forget and of the retain set are shown.
    """
    measure = measure or character_lengths
    shown: tuple[tuple[Literal["forget", "retain"], Item], ...] = (
        *(("forget", item) for item in task.forget[:samples]),
        *(("retain", item) for item in task.retain[:samples]),
    )
    return Description(
        task=task.name,
        forget=_set(task.forget, measure),
        retain=_set(task.retain, measure) if task.retain else None,
        evaluation={each.name: _set(each.items, measure) for each in task.evaluation},
        overlap=find_overlap(task.forget, task.retain),
        missing=missing_metrics(task.evaluation, embedder=embedder, judge=judge),
        samples=tuple(
            Sample(set=name, id=item.id, history=item.history, question=item.question, answer=item.answer)
            for name, item in shown
        ),
        warnings=task.warnings,
    )


def summarize_lengths(
    values: Sequence[int], unit: Literal["characters", "tokens"], limit: int | None = None
) -> Lengths:
    """Summarize lengths, of which there is at least one; median and p95 are lengths that occur."""
    ordered = sorted(values)
    return Lengths(
        unit=unit,
        minimum=ordered[0],
        median=_at_share(ordered, 0.5),
        p95=_at_share(ordered, 0.95),
        maximum=ordered[-1],
        limit=limit,
        beyond_limit=0 if limit is None else sum(value > limit for value in ordered),
    )


def character_lengths(items: Sequence[Item]) -> Lengths:
    """Lengths of everything that is said in each item, without what a chat template adds."""
    return summarize_lengths(
        [sum(len(turn.content) for turn in item.history) + len(item.question) + len(item.answer) for item in items],
        "characters",
    )


def find_overlap(forget: Sequence[Item], retain: Sequence[Item]) -> Overlap:
    """Find forget items that the retain set asks for, too, or whose answers it repeats in part."""
    kept_questions = {prompt_key(item) for item in retain}
    kept_by: dict[str, str] = {}  # run of words -> id of the first retain item that has it
    for item in retain:
        for run in _runs(item.answer):
            kept_by.setdefault(run, item.id)
    shared = []
    for item in forget:
        if words := next((run for run in _runs(item.answer) if run in kept_by), None):
            shared.append(SharedWords(forget=item.id, retain=kept_by[words], words=words))
    return Overlap(
        same_question=sum(prompt_key(item) in kept_questions for item in forget),
        shared_words=len(shared),
        first_shared=shared[0] if shared else None,
    )


def missing_metrics(sets: Sequence[EvaluationSet], *, embedder: str, judge: str) -> dict[Metric, str]:
    """Return each metric that these sets will not have -> why, going by the data and the settings alone.

    Of a set in which only some questions have what a metric needs, that metric is not scored.
    """
    missing: dict[Metric, str] = {}
    if lacking := _lacking(sets, lambda item: bool(item.perturbed_answers)):
        missing["truth_ratio"] = f"no wrong answers (perturbed_answers) in {lacking}"
    if embedder == "none":
        missing["cosine_similarity"] = "switched off by evaluate.embedder=none"
    if judge == "none":
        missing["entailment"] = "switched off by evaluate.judge=none"
    elif judge == "key-facts" and (lacking := _lacking(sets, lambda item: item.key_fact is not None)):
        missing["entailment"] = f"no key fact (key_fact) for the judge key-facts in {lacking}"
    return missing


def _set(items: Sequence[Item], measure: MeasureLengths) -> SetDescription:
    talks = {_row_of(item) for item in items if item.history}  # whose first answer may follow nothing
    wrong = [len(item.perturbed_answers) for item in items]
    return SetDescription(
        count=len(items),
        kinds=dict(Counter(_item_type(item, talks) for item in items)),
        conversations=len(talks),
        wrong_answers=WrongAnswers(minimum=min(wrong), maximum=max(wrong)) if any(wrong) else None,
        lengths=measure(items),
        repeated=len(items) - len({(prompt_key(item), normalize(item.answer)) for item in items}),
    )


def _row_of(item: Item) -> str:
    """The id of the row: of `forget/0001/2`, the second answer in a conversation, `forget/0001`."""
    return "/".join(item.id.split("/")[:2])


def _item_type(item: Item, talks: set[str]) -> ItemType:
    """`talks`: the rows that are conversations."""
    if item.passage:
        return "passages"
    return "conversations" if _row_of(item) in talks else "questions"


def _at_share(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least `share` of all do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def _runs(text: str) -> Iterator[str]:
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - RUN_OF_WORDS + 1):
        yield " ".join(words[start : start + RUN_OF_WORDS])


def _lacking(sets: Sequence[EvaluationSet], has: Callable[[Item], bool]) -> str:
    """Name the sets with an item for which `has` is false, and how many those are."""
    counts = {each.name: (sum(not has(item) for item in each.items), len(each.items)) for each in sets}
    return ", ".join(f"{name} ({lacking} of {all_})" for name, (lacking, all_) in counts.items() if lacking)
