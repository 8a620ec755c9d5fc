"""Evaluation questions as token ids: encoded once, for likelihoods and generation alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    max_new_tokens: int = 0
    """Most tokens of the output; 0 for a question that is not asked."""
    stop: tuple[str, ...] = ()
    """The output ends before the first of these strings."""


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
        config: `limit` cuts each set; `max_new_tokens`, or those of a set if fewer, must fit after every prompt.

    Returns:
        The questions of all sets, one set after another, each in the order of its items.

    Raises:
        EffaceError: When an answer, or a prompt with `max_new_tokens`, does not fit into the model, or paraphrased
            questions are to be asked and there is none.
    """
    check_paraphrases(sets, config)
    asked = [(set_, item) for set_ in sets for item in evaluated_items(set_, config)]
    questions = [
        replace(question, max_new_tokens=_max_new_tokens(set_, config), stop=(*set_.stop, *config.stop))
        for question, (set_, _) in zip(encode_questions(formatter, [item for _, item in asked]), asked, strict=True)
    ]
    for limit in {question.max_new_tokens for question in questions} - {0}:
        check_position_limit(model, [each.prompt for each in questions if each.max_new_tokens == limit], limit)
    return questions


def evaluated_items(set_: EvaluationSet, config: EvaluateConfig) -> Sequence[Item]:
    """The items of a set that are scored, with the question that is asked.

    Args:
        set_: The evaluation set.
        config: `limit` cuts the set, `question` chooses the question.

    Returns:
        The items in order; those without a paraphrased question keep their own.
    """
    items = set_.items[: config.limit]
    if config.question == "original":
        return items
    return [
        item.model_copy(update={"question": item.paraphrased_question}) if item.paraphrased_question else item
        for item in items
    ]


def check_paraphrases(sets: Sequence[EvaluationSet], config: EvaluateConfig) -> None:
    """Refuse to ask paraphrased questions where no set has one.

    Args:
        sets: Evaluation sets.
        config: `question` chooses the question.

    Raises:
        EffaceError: There is none.
    """
    if config.question == "paraphrased" and not any(item.paraphrased_question for set_ in sets for item in set_.items):
        raise EffaceError(
            "evaluate.question=paraphrased: no question of the data has a paraphrased_question; leave it out, or add "
            "this column"
        )


def _max_new_tokens(set_: EvaluationSet, config: EvaluateConfig) -> int:
    return config.max_new_tokens if set_.max_new_tokens is None else min(set_.max_new_tokens, config.max_new_tokens)


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
