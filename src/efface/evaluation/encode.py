"""Evaluation questions as token ids: encoded once, for likelihoods and generation alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.packing.forward import position_limit
from efface.schema import EvaluationSet, Item
from efface.text.boundary import describe_merged
from efface.text.config import Boundary
from efface.text.formatter import PromptFormatter
from efface.text.sequence import TokenizedSequence


@dataclass(frozen=True)
class EncodedQuestion:
    """One question of an evaluation set as token ids."""

    item: Item
    answers: tuple[TokenizedSequence, ...]
    """Each with the prompt: the reference answer, the paraphrased answer if there is one, each perturbed answer."""
    prompt: list[int]
    """Token ids that generation starts from: those of the prompt alone."""


def answer_texts(item: Item) -> list[str]:
    """The answers whose likelihood is computed, in the order of `EncodedQuestion.answers`."""
    paraphrased = [] if item.paraphrased_answer is None else [item.paraphrased_answer]
    return [item.scored_answer, *paraphrased, *item.perturbed_answers]


def encode_questions(formatter: PromptFormatter, items: Sequence[Item]) -> list[EncodedQuestion]:
    """Encode questions with all answers whose likelihood is computed.

    Args:
        formatter: Tokenizer, prompt format and length limit.
        items: Questions, of any number of sets.

    Returns:
        One for each item, in the same order.

    Raises:
        EffaceError: When a question and one of its answers exceed the formatter's limit or cannot be encoded.
    """
    texts = [answer_texts(item) for item in items]
    sequences = iter(
        formatter.encode(
            [(item.id, item.prompt, answer) for item, answers in zip(items, texts, strict=True) for answer in answers]
        )
    )
    prompts = formatter.encode_prompts([item.prompt for item in items])  # an answer's own may end with a shared token
    return [
        EncodedQuestion(item, tuple(next(sequences) for _ in answers), prompt)
        for item, answers, prompt in zip(items, texts, prompts, strict=True)
    ]


def warn_about_merged(questions: Sequence[EncodedQuestion], boundary: Boundary, warn: Callable[[str], None]) -> None:
    """Warn about answers that share a token with the end of their prompt.

    Args:
        questions: What is scored.
        boundary: The setting `text.boundary`.
        warn: Called with the warning, if there is one.
    """
    answers = (answer for question in questions for answer in question.answers)
    if merged := describe_merged(answers, boundary, purpose="evaluation"):
        warn(merged)


def encode_evaluation(
    model: Any, formatter: PromptFormatter, sets: Sequence[EvaluationSet], config: EvaluateConfig
) -> list[EncodedQuestion]:
    """Encode the questions of all sets and check, before anything is computed, that the model has positions for them.

    Args:
        model: The model to evaluate; weights are not needed.
        formatter: Its tokenizer and prompt format.
        sets: Evaluation sets.
        config: `limit` cuts each set; `max_new_tokens` must fit after every prompt.

    Returns:
        The questions of all sets, one set after another, each in the order of its items.

    Raises:
        EffaceError: When an answer, or a prompt with `max_new_tokens`, does not fit into the model.
    """
    questions = encode_questions(formatter, [item for set_ in sets for item in set_.items[: config.limit]])
    check_position_limit(model, [question.prompt for question in questions], config.max_new_tokens)
    return questions


def retokenize(tokenizer: Any, outputs: Sequence[str]) -> list[list[int]]:
    """Tokenize outputs again, as `compute_token_entropy` of the published code (arXiv:2410.08109) does.

    Args:
        tokenizer: Of the model.
        outputs: Decoded outputs.

    Returns:
        The token ids of each text by itself, in the same order; no ids for an empty text. No BOS is added, and the text
        of a special token becomes that token.
    """
    return list(tokenizer(list(outputs), add_special_tokens=False, verbose=False).input_ids) if outputs else []


def check_position_limit(model: Any, prompts: Sequence[list[int]], max_new_tokens: int) -> None:
    """Check that the model has positions for `max_new_tokens` after every prompt.

    Args:
        model: The model; weights are not needed.
        prompts: Token ids of each prompt.
        max_new_tokens: Most tokens of an output.

    Raises:
        EffaceError: When the longest prompt leaves too few positions.
    """
    positions, longest_prompt = position_limit(model), max(map(len, prompts), default=0)
    if positions is not None and longest_prompt + max_new_tokens > positions:
        fitting = max(positions - longest_prompt, 1)
        raise EffaceError(
            f"the longest prompt ({longest_prompt} tokens) and evaluate.max_new_tokens={max_new_tokens} exceed "
            f"the model's {positions} positions; set evaluate.max_new_tokens to {fitting} or less"
        )
