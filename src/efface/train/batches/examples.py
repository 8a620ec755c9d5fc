"""From sampled pairs to token ids, before training; of a long training, shortly before each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from efface.errors import EffaceError
from efface.objectives.terms import Objective, View
from efface.packing.padded_rows import pad
from efface.schema import Item, Prompt, Task
from efface.text.formatter import PromptFormatter
from efface.text.sequence import TokenizedSequence
from efface.train.batches.lazy_steps import STEPS_PER_BLOCK, LazySteps
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.sampler import SampledPair, epoch_batches
from efface.train.config import TrainConfig

PromptAnswer = tuple[str, Prompt, str]
"""Item id, prompt and answer."""
_Texts = Sequence[Sequence[Mapping[View, PromptAnswer]]]
"""Of the examples of some steps."""
_TEXTS_AHEAD = 20_000
"""Trainings of more texts tokenize them shortly before each step: all of them would take minutes and gigabytes."""
_TEMPLATE_BYTES = 1000
"""More than what a template writes around a question."""


def unlearning_examples(
    pairs: Sequence[Sequence[SampledPair]],
    views: Sequence[View],
    formatter: PromptFormatter,
    *,
    row_lengths: Mapping[View, int] = MappingProxyType({}),
    max_row_length: int | None = None,
    padding_attends: bool = True,
    fixed_answers: Mapping[View, str] = MappingProxyType({}),
    most_bytes: int | None = None,
) -> Sequence[list[TrainingExample]]:
    """Tokenize the pairs of an unlearning run.

    Args:
        pairs: Those of each step.
        views: The views that the objective reads.
        formatter: Writes prompts and tokenizes.
        row_lengths: The views that the objective reads as padded rows, and the length of their rows.
        max_row_length: Most tokens of an example's question and answer; longer answers are cut. None cuts nothing.
        padding_attends: Whether the padding of rows attends to the text.
        fixed_answers: The views with one answer for all items, and this answer.
        most_bytes: What `most_bytes` returned for the items. Without it, each text of a long training is looked at
            before training, for some may be too long.

    Returns:
        The examples of each step, with these views and no others.

    Raises:
        EffaceError: An item is too long to be tokenized, cut or padded.
    """

    def texts(numbers: range) -> _Texts:
        return [
            [{view: _text(pair, view, fixed_answers.get(view)) for view in views} for pair in step]
            for step in pairs[numbers.start : numbers.stop]
        ]

    encoder = _Encoder(formatter, max_row_length, row_lengths, padding_attends)
    return _encode(texts, len(pairs), encoder, most_bytes)


def most_bytes(items: Sequence[Item], other_answers: Sequence[str] = ()) -> int:
    """The most bytes of a question, with what comes before it, and an answer of any item together.

    Args:
        items: Questions and answers.
        other_answers: Refusals, which take the place of answers.
    """
    questions = (_count_bytes(item.question, *(turn.content for turn in item.history)) for item in items)
    own = (each for item in items for each in (item.answer, *item.alternate_answers))
    answers = (_count_bytes(each) for each in (*own, *other_answers))
    return max(questions, default=0) + max(answers, default=0)


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
    lacking = next((item for item in task.forget if not item.alternate_answers), None)
    if lacking is not None and "forget_alternate" in views:
        raise EffaceError(
            f"method {objective.name} needs other answers to the questions of the forget set, and item {lacking.id!r} "
            "has none; add them to the forget file in a column alternate_answers, or name it in "
            "data.forget.columns.alternate_answers"
        )
    views_with_other_answer = {
        "forget": ("forget_idk", "forget_mismatch", "forget_alternate"),
        "retain": ("retain_idk",),
    }
    for name, items in (("forget", task.forget), ("retain", task.retain)):
        passage = next((item for item in items if item.passage), None)
        if passage is not None and not views.isdisjoint(views_with_other_answer[name]):
            raise EffaceError(
                f"method {objective.name} replaces the answers to questions, but item {passage.id!r} of the {name} set "
                "is running text; use another method, such as me, ga or npo for the forget set, and gd or kl for the "
                "retain set"
            )


def fine_tuning_examples(
    items: Sequence[Item], config: TrainConfig, seed: int, formatter: PromptFormatter
) -> Sequence[list[TrainingExample]]:
    """Tokenize the items of plain fine-tuning.

    Args:
        items: To train on.
        config: Epochs and batch size.
        seed: Of the order.
        formatter: Writes prompts and tokenizes.

    Returns:
        The examples of each step; each item is a `retain` view.

    Raises:
        EffaceError: An item is too long to be tokenized or cut.
    """
    steps = epoch_batches(len(items), config, seed)

    def texts(numbers: range) -> _Texts:
        return [
            [{"retain": (items[index].id, items[index].prompt, items[index].answer)} for _, index in steps[number]]
            for number in numbers
        ]

    return _encode(texts, len(steps), _Encoder(formatter, config.max_row_length), most_bytes(items))


def _text(pair: SampledPair, view: View, fixed: str | None) -> PromptAnswer:
    id_, prompt, answer = _own_text(pair, view)
    return id_, prompt, answer if fixed is None else fixed


def _own_text(pair: SampledPair, view: View) -> PromptAnswer:
    match view:
        case "forget":
            return pair.forget.id, pair.forget.prompt, pair.forget.answer
        case "forget_idk":
            return pair.forget.id, pair.forget.prompt, pair.forget_refusal
        case "forget_alternate":
            assert pair.forget_alternate is not None, "check_task refuses items without alternate answers"
            return pair.forget.id, pair.forget.prompt, pair.forget_alternate
    retain = pair.retain
    assert retain is not None, "check_task refuses a method that needs a retain set where there is none"
    match view:
        case "forget_mismatch":
            return pair.forget.id, pair.forget.prompt, retain.answer
        case "retain":
            return retain.id, retain.prompt, retain.answer
        case "retain_idk":
            return retain.id, retain.prompt, pair.retain_refusal


@dataclass(frozen=True)
class _Encoder:
    """From texts to token ids, cut and padded to rows where these are set."""

    formatter: PromptFormatter
    max_row_length: int | None
    row_lengths: Mapping[View, int] = field(default_factory=dict)
    padding_attends: bool = True

    def __call__(self, steps: _Texts) -> list[list[TrainingExample]]:
        """The examples of some steps."""
        distinct = list(dict.fromkeys(text for step in steps for example in step for text in example.values()))
        sequences = [_cut(sequence, self.max_row_length) for sequence in self.formatter.encode(distinct)]
        encoded: dict[PromptAnswer, TokenizedSequence] = dict(zip(distinct, sequences, strict=True))
        return [
            [{view: self._padded(view, encoded[text]) for view, text in example.items()} for example in step]
            for step in steps
        ]

    def limit(self, view: View) -> int | None:
        """The tokens that no sequence can exceed without being cut or refused."""
        limits = (self.formatter.limit, self.max_row_length, self.row_lengths.get(view))
        return min((each for each in limits if each is not None), default=None)

    def _padded(self, view: View, sequence: TokenizedSequence) -> TokenizedSequence:
        if (length := self.row_lengths.get(view)) is None:
            return sequence
        return pad(
            sequence,
            length,
            pad_token=self.formatter.pad_token,
            end_token=self.formatter.end_token,
            padding_attends=self.padding_attends,
        )


def _encode(
    texts: Callable[[range], _Texts], steps: int, encoder: _Encoder, most_bytes: int | None
) -> Sequence[list[TrainingExample]]:
    """The examples of each step. `texts` returns those of consecutive steps."""
    [first] = texts(range(1))
    if steps * sum(map(len, first)) <= _TEXTS_AHEAD:
        return encoder(texts(range(steps)))
    views = {view for example in first for view in example}
    if most_bytes is None or any(_may_exceed(encoder.limit(view), most_bytes) for view in views):
        _check_lengths(texts, steps, encoder)
    lazy = LazySteps(steps, lambda numbers: encoder(texts(numbers)))
    lazy.first_block()  # raises now what is wrong with the formatter, and shows how texts are tokenized
    return lazy


def _check_lengths(texts: Callable[[range], _Texts], steps: int, encoder: _Encoder) -> None:
    """Refuse texts that are too long, also those that are only tokenized in the middle of a long training.

    No token is shorter than a byte, so only texts with more bytes than tokens are allowed need to be tokenized.
    """
    checked: set[tuple[View, PromptAnswer]] = set()
    for start in range(0, steps, STEPS_PER_BLOCK):
        block = texts(range(start, min(start + STEPS_PER_BLOCK, steps)))
        given = dict.fromkeys(each for step in block for example in step for each in example.items())
        long = [each for each in given if each not in checked and _is_long(each, encoder)]
        if long:
            encoder([[dict([each]) for each in long]])
        checked.update(long)


def _is_long(given: tuple[View, PromptAnswer], encoder: _Encoder) -> bool:
    view, (_, prompt, answer) = given
    return _may_exceed(
        encoder.limit(view), _count_bytes(prompt.question, answer, *(turn.content for turn in prompt.history))
    )


def _may_exceed(limit: int | None, count: int) -> bool:
    """Whether a text of so many bytes may have more tokens than the limit."""
    return limit is not None and count > limit - _TEMPLATE_BYTES


def _count_bytes(*texts: str) -> int:
    return sum(len(each.encode()) for each in texts)


def _cut(sequence: TokenizedSequence, max_row_length: int | None) -> TokenizedSequence:
    """The first `max_row_length` tokens, as a truncating tokenizer leaves them: without the end-of-sequence token."""
    if max_row_length is None or len(sequence) <= max_row_length:
        return sequence
    if sequence.prompt_length >= max_row_length:
        raise EffaceError(
            f"item {sequence.id!r}: its question takes {sequence.prompt_length} tokens, and train.max_row_length="
            f"{max_row_length} leaves none for the answer; raise it or shorten the question"
        )
    kept = sequence.answer[: max_row_length - sequence.prompt_length]
    return TokenizedSequence(sequence.id, sequence.prompt, kept, sequence.merged)
