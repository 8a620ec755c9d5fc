"""Outputs of a model for the questions of several sets, each with its own length limit and stop strings."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from efface.evaluation.config import Engine
from efface.evaluation.encode import EncodedQuestion
from efface.evaluation.generate import Generation, generate_from_ids
from efface.evaluation.journal import Journal
from efface.text.formatter import PromptFormatter


def generate_outputs(
    model: Any,
    formatter: PromptFormatter,
    questions: Sequence[EncodedQuestion],
    *,
    max_cache_tokens: int | None,
    engine: Engine = "efface",
    progress: Callable[[int], None],
    journal: Journal | None,
) -> list[Generation]:
    """Decode greedily in this process, questions of the same limit together.

    Args:
        model: A causal language model.
        formatter: Its tokenizer and stop tokens.
        questions: Encoded questions; those of `max_new_tokens=0` are not asked.
        max_cache_tokens: As for `generate_from_ids`.
        engine: As for `generate_from_ids`.
        progress: Called with the number of questions that are done.
        journal: Has outputs from before a kill, and gets those of each batch.

    Returns:
        The output for each question, in the same order; empty for those that are not asked.

    Raises:
        EffaceError: As `generate_from_ids`.
    """
    outputs = [Generation([], "")] * len(questions)
    done = sum(question.max_new_tokens == 0 for question in questions)
    for limit in sorted({question.max_new_tokens for question in questions} - {0}):
        indices = [index for index, question in enumerate(questions) if question.max_new_tokens == limit]
        generations = generate_from_ids(
            model,
            formatter,
            [questions[index].prompt for index in indices],
            max_new_tokens=limit,
            max_cache_tokens=max_cache_tokens,
            engine=engine,
            progress=lambda count, before=done: progress(before + count),  # type: ignore[misc]
            journal=journal,
        )
        for index, generation in zip(indices, generations, strict=True):
            outputs[index] = cut_at_stop(generation, questions[index].stop, formatter.tokenizer)
        done += len(indices)
    return outputs


def cut_at_stop(generation: Generation, stop: Sequence[str], tokenizer: Any) -> Generation:
    """End an output before the first of several strings.

    Args:
        generation: The output.
        stop: The strings; none changes nothing.
        tokenizer: Of the model.

    Returns:
        The text before the string, and the most of its tokens that decode to no more than this text.
    """
    ends = [end for string in stop if (end := generation.text.find(string)) >= 0]
    if not ends:
        return generation
    text, ids = generation.text[: min(ends)], generation.token_ids

    def length(count: int) -> int:
        return len(tokenizer.decode(ids[:count], skip_special_tokens=True, clean_up_tokenization_spaces=False))

    kept = bisect_right(range(len(ids) + 1), len(text), key=length) - 1
    return Generation(ids[: max(kept, 0)], text)
