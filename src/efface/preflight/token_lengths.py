"""Count a task's data in tokens, for `efface data check`. No weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from efface.config.data_commands import DataInspectionConfig
from efface.data.describe import Lengths, MeasureLengths, summarize_lengths
from efface.data.sources.documents import chunk_tokens
from efface.errors import EffaceError
from efface.evaluation.encode import (
    check_paraphrases,
    encode_evaluation,
    encode_questions,
    evaluated_items,
    warn_about_merged,
)
from efface.models.folder import load_model_config, model_folder
from efface.models.memory_estimate import meta_model
from efface.models.tokenizer import load_tokenizer, model_tokenizer, tokenizer_folder
from efface.packing.forward import max_positions, position_limit, vocabulary_size
from efface.progress.quiet_libraries import quiet_libraries
from efface.schema import Item, Task
from efface.text.boundary import describe_merged
from efface.text.chunks import with_chunks
from efface.text.formatter import PromptFormatter


@quiet_libraries()
def token_lengths(config: DataInspectionConfig) -> MeasureLengths:
    """How to measure items in a model's tokens, with all that a run adds to them.

    Args:
        config: Names a model or a tokenizer; text settings.

    Returns:
        A function from items to their lengths, with the limit that a run has. It raises `EffaceError` for items that
        the text format cannot represent.

    Raises:
        EffaceError: Where the model's config.json or the tokenizer cannot be used.
    """
    positions = None
    if config.model is not None:
        positions = max_positions(load_model_config(model_folder(config.model)))
    limits = [n for n in (config.text.max_length, positions) if n is not None]
    formatter = PromptFormatter(_tokenizer(config), config.text.model_copy(update={"max_length": None}))

    def measure(items: Sequence[Item]) -> Lengths:
        encoded = formatter.encode([(item.id, item.prompt, item.answer) for item in items])
        return summarize_lengths([len(each) for each in encoded], "tokens", min(limits, default=None))

    return measure


@quiet_libraries()
def check_tokens(task: Task, config: DataInspectionConfig) -> list[str]:
    """Tokenize everything that a run of the model would tokenize, whatever its method.

    Args:
        task: The data.
        config: Names a model, or a tokenizer without a model's limits; text and evaluation settings.

    Returns:
        Warnings: how many answers share a token with the end of their prompt, of those that are trained on and of
        those that are scored.

    Raises:
        EffaceError: For whatever the run would refuse.
    """
    meta, limit, vocabulary = None, None, None
    if config.model is not None:
        try:
            meta = meta_model(load_model_config(model_folder(config.model)), None)
        except EffaceError as error:
            raise EffaceError(f"model {config.model}: {error}") from error
        limit, vocabulary = position_limit(meta), vocabulary_size(meta)
    formatter = PromptFormatter(_tokenizer(config), config.text, limit=limit, vocabulary=vocabulary)
    task = with_chunks(task, formatter, chunk_tokens(config.data))
    trained = formatter.encode([(item.id, item.prompt, item.answer) for item in (*task.forget, *task.retain)])
    if meta is None:
        check_paraphrases(task.evaluation, config.evaluate)
        scored = [item for each in task.evaluation for item in evaluated_items(each, config.evaluate)]
        questions = encode_questions(formatter, scored)
    else:
        questions = encode_evaluation(meta, formatter, task.evaluation, config.evaluate)
    warnings: list[str] = []
    if merged := describe_merged(trained, config.text.boundary, purpose="training"):
        warnings.append(merged)
    warn_about_merged(questions, config.text.boundary, warnings.append)
    return warnings


def _tokenizer(config: DataInspectionConfig) -> Any:
    """The tokenizer of the model, or the one that is named."""
    if config.model is not None:
        return model_tokenizer(model_folder(config.model), config.tokenizer).tokenizer
    assert config.tokenizer is not None, "callers count characters where neither is given"
    return load_tokenizer(tokenizer_folder(config.tokenizer))
