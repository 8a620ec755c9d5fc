"""From sampled pairs to token ids: each distinct question and answer is tokenized once, before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from efface.errors import EffaceError
from efface.objectives.terms import Objective, View
from efface.packing.padded_rows import pad
from efface.schema import Item, Prompt, Task
from efface.text.formatter import PromptFormatter
from efface.text.sequence import TokenizedSequence
from efface.train.config import TrainConfig
from efface.train.micro_batches import TrainingExample
from efface.train.sampler import SampledPair, epoch_batches

PromptAnswer = tuple[str, Prompt, str]
"""Item id, prompt and answer."""


def unlearning_examples(
    pairs: Sequence[Sequence[SampledPair]],
    views: Sequence[View],
    formatter: PromptFormatter,
    *,
    row_lengths: Mapping[View, int] = MappingProxyType({}),
    max_row_length: int | None = None,
    padding_attends: bool = True,
) -> list[list[TrainingExample]]:
    """Tokenize the pairs of an unlearning run.

    Args:
        pairs: Those of each step.
        views: The views that the objective reads.
        formatter: Writes prompts and tokenizes.
        row_lengths: The views that the objective reads as padded rows, and the length of their rows.
        max_row_length: Most tokens of an example's question and answer; longer answers are cut. None cuts nothing.
        padding_attends: Whether the padding of rows attends to the text.

    Returns:
        The examples of each step, with these views and no others.

    Raises:
        EffaceError: An item is too long to be tokenized, cut or padded.
    """
    texts = [[{view: _text(pair, view) for view in views} for pair in step] for step in pairs]
    steps = _encode(texts, formatter, max_row_length)
    if not row_lengths:
        return steps

    def padded(view: View, sequence: TokenizedSequence) -> TokenizedSequence:
        if (length := row_lengths.get(view)) is None:
            return sequence
        return pad(
            sequence,
            length,
            pad_token=formatter.pad_token,
            end_token=formatter.end_token,
            padding_attends=padding_attends,
        )

    return [[{view: padded(view, sequence) for view, sequence in each.items()} for each in step] for step in steps]


def check_task(task: Task, objective: Objective) -> None:
    """Refuse a method that needs what the task does not have.

    Args:
        task: The data.
        objective: The method.

    Raises:
        EffaceError: The method needs a retain set and there is none, or it replaces the answers of a set that has
            passages of running text, which answer no question.
    """
    views = set(objective.views)
    if not task.retain and not views.isdisjoint(("forget_mismatch", "retain", "retain_idk")):
        alone = objective.name.partition("+")[0] if objective.name != "llmu" else "ga"
        raise EffaceError(
            f"method {objective.name} needs a retain set, and {task.name} has none; give data.retain=FILE, "
            f"data.retain=model-answers for the model's answers to generic questions, or method={alone} to forget only"
        )
    views_with_other_answer = {"forget": ("forget_idk", "forget_mismatch"), "retain": ("retain_idk",)}
    for name, items in (("forget", task.forget), ("retain", task.retain)):
        passage = next((item for item in items if item.passage), None)
        if passage is not None and not views.isdisjoint(views_with_other_answer[name]):
            raise EffaceError(
                f"method {objective.name} replaces the answers to questions, but item {passage.id!r} of the {name} set "
                "is running text; use me, ga or npo for the forget set, and gd or kl for the retain set"
            )


def fine_tuning_examples(
    items: Sequence[Item], config: TrainConfig, seed: int, formatter: PromptFormatter
) -> list[list[TrainingExample]]:
    """Tokenize the items of plain fine-tuning.

    Args:
        items: To train on.
        config: Epochs and batch size.
        seed: Of the order.
        formatter: Writes prompts and tokenizes.

    Returns:
        The examples of each step; each item is a `retain` view.
    """
    steps = epoch_batches(len(items), config, seed)
    texts: list[list[dict[View, PromptAnswer]]] = [
        [{"retain": (items[index].id, items[index].prompt, items[index].answer)} for _, index in step] for step in steps
    ]
    return _encode(texts, formatter, config.max_row_length)


def _text(pair: SampledPair, view: View) -> PromptAnswer:
    match view:
        case "forget":
            return pair.forget.id, pair.forget.prompt, pair.forget.answer
        case "forget_idk":
            return pair.forget.id, pair.forget.prompt, pair.forget_refusal
    retain = pair.retain
    assert retain is not None, "check_task refuses a method that needs a retain set where there is none"
    match view:
        case "forget_mismatch":
            return pair.forget.id, pair.forget.prompt, retain.answer
        case "retain":
            return retain.id, retain.prompt, retain.answer
        case "retain_idk":
            return retain.id, retain.prompt, pair.retain_refusal


def _encode(
    steps: Sequence[Sequence[dict[View, PromptAnswer]]], formatter: PromptFormatter, max_row_length: int | None
) -> list[list[TrainingExample]]:
    distinct = list(dict.fromkeys(text for step in steps for example in step for text in example.values()))
    sequences = [_cut(sequence, max_row_length) for sequence in formatter.encode(distinct)]
    encoded: dict[PromptAnswer, TokenizedSequence] = dict(zip(distinct, sequences, strict=True))
    return [[{view: encoded[text] for view, text in example.items()} for example in step] for step in steps]


def _cut(sequence: TokenizedSequence, max_row_length: int | None) -> TokenizedSequence:
    """The first `max_row_length` tokens, as a truncating tokenizer leaves them: without the end-of-sequence token."""
    if max_row_length is None or len(sequence) <= max_row_length:
        return sequence
    if len(sequence.prompt) >= max_row_length:
        raise EffaceError(
            f"item {sequence.id!r}: its question takes {len(sequence.prompt)} tokens, and train.max_row_length="
            f"{max_row_length} leaves none for the answer; raise it or shorten the question"
        )
    return replace(sequence, answer=sequence.answer[: max_row_length - len(sequence.prompt)])
