"""Count a task's data in a model's tokens, for `efface data describe` and `efface data check`. No weight is read."""

from __future__ import annotations

from collections.abc import Sequence

from efface.config.commands import DataInspectionConfig
from efface.data.describe import Lengths, MeasureLengths, summarize_lengths
from efface.errors import EffaceError
from efface.evaluation.encode import encode_evaluation, warn_about_merged
from efface.models.folder import load_model_config, model_folder
from efface.models.memory_estimate import meta_model
from efface.models.tokenizer import model_tokenizer
from efface.packing.forward import max_positions, position_limit, vocabulary_size
from efface.progress.quiet_libraries import quiet_libraries
from efface.schema import Item, Task
from efface.text.boundary import describe_merged
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter


@quiet_libraries()
def token_lengths(model: str, text: TextConfig, *, tokenizer: str | None = None) -> MeasureLengths:
    """How to measure items in a model's tokens, with all that a run adds to them.

    Args:
        model: A local folder, or the name of a model on the Hugging Face hub.
        text: How questions and answers become tokens.
        tokenizer: Folder or hub name of its tokenizer; None if the model's folder has it.

    Returns:
        A function from items to their lengths, with the limit that a run has. It raises `EffaceError` for items that
        the text format cannot represent.

    Raises:
        EffaceError: Where the model's config.json or tokenizer cannot be used.
    """
    source = model_folder(model)
    limits = [n for n in (text.max_length, max_positions(load_model_config(source))) if n is not None]
    loaded = model_tokenizer(source, tokenizer)
    formatter = PromptFormatter(loaded.tokenizer, text.model_copy(update={"max_length": None}))

    def measure(items: Sequence[Item]) -> Lengths:
        encoded = formatter.encode([(item.id, item.prompt, item.answer) for item in items])
        return summarize_lengths([len(each) for each in encoded], "tokens", min(limits, default=None))

    return measure


@quiet_libraries()
def check_tokens(task: Task, config: DataInspectionConfig, model: str) -> list[str]:
    """Tokenize everything that a run of the model would tokenize, whatever its method.

    Args:
        task: The data.
        config: Text and evaluation settings.
        model: A local folder, or the name of a model on the Hugging Face hub.

    Returns:
        Warnings: how many answers share a token with the end of their prompt, of those that are trained on and of
        those that are scored.

    Raises:
        EffaceError: For whatever the run would refuse.
    """
    source = model_folder(model)
    try:
        meta = meta_model(load_model_config(source), None)
    except EffaceError as error:
        raise EffaceError(f"model {model}: {error}") from error
    limit, vocabulary = position_limit(meta), vocabulary_size(meta)
    loaded = model_tokenizer(source, config.tokenizer)
    formatter = PromptFormatter(loaded.tokenizer, config.text, limit=limit, vocabulary=vocabulary)
    trained = formatter.encode([(item.id, item.prompt, item.answer) for item in (*task.forget, *task.retain)])
    questions = encode_evaluation(meta, formatter, task.evaluation, config.evaluate)
    warnings: list[str] = []
    if merged := describe_merged(trained, config.text.boundary, purpose="training"):
        warnings.append(merged)
    warn_about_merged(questions, config.text.boundary, warnings.append)
    return warnings
