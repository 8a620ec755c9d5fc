"""Count a task's data in a model's tokens, for `efface data describe` and `efface data check`. No weight is read."""

from __future__ import annotations

from collections.abc import Sequence

from efface.config.commands import DataInspectionConfig
from efface.data.describe import Lengths, MeasureLengths, summarize_lengths
from efface.errors import EffaceError
from efface.evaluation.encode import encode_evaluation
from efface.models.folder import load_model_config, model_folder
from efface.models.load import load_tokenizer
from efface.models.memory_estimate import meta_model
from efface.packing.forward import max_positions, position_limit, vocabulary_size
from efface.progress.quiet_libraries import quiet_libraries
from efface.schema import Item, Task
from efface.text.formatter import PromptFormatter, TextConfig


@quiet_libraries()
def token_lengths(model: str, text: TextConfig) -> MeasureLengths:
    """How to measure items in a model's tokens, with all that a run adds to them.

    Args:
        model: A local folder, or the name of a model on the Hugging Face hub.
        text: How questions and answers become tokens.

    Returns:
        A function from items to their lengths, with the limit that a run has. It raises `EffaceError` for items that
        the text format cannot represent.

    Raises:
        EffaceError: Where the model's config.json or tokenizer cannot be used.
    """
    source = model_folder(model)
    limits = [n for n in (text.max_length, max_positions(load_model_config(source))) if n is not None]
    formatter = PromptFormatter(load_tokenizer(source), text.model_copy(update={"max_length": None}))

    def measure(items: Sequence[Item]) -> Lengths:
        encoded = formatter.encode([(item.id, item.prompt, item.answer) for item in items])
        return summarize_lengths([len(each) for each in encoded], "tokens", min(limits, default=None))

    return measure


@quiet_libraries()
def check_tokens(task: Task, config: DataInspectionConfig, model: str) -> None:
    """Tokenize everything that a run of the model would tokenize, whatever its method.

    Args:
        task: The data.
        config: Text and evaluation settings.
        model: A local folder, or the name of a model on the Hugging Face hub.

    Raises:
        EffaceError: For whatever the run would refuse.
    """
    source = model_folder(model)
    try:
        meta = meta_model(load_model_config(source), None)
    except EffaceError as error:
        raise EffaceError(f"model {model}: {error}") from error
    limit, vocabulary = position_limit(meta), vocabulary_size(meta)
    formatter = PromptFormatter(load_tokenizer(source), config.text, limit=limit, vocabulary=vocabulary)
    formatter.encode([(item.id, item.prompt, item.answer) for item in (*task.forget, *task.retain)])
    encode_evaluation(meta, formatter, task.evaluation, config.evaluate)
