"""A task's data through the eyes of a model, for `efface data describe` and `efface data check`."""

from __future__ import annotations

from collections.abc import Sequence

from efface.config.commands import DataInspectionConfig
from efface.data.describe import Lengths, MeasureLengths, summarize_lengths
from efface.errors import EffaceError
from efface.evaluation.generate import check_position_limit
from efface.evaluation.likelihoods import answer_rows
from efface.models.load import load_tokenizer, model_config, model_folder
from efface.models.memory_estimate import meta_model
from efface.packing.forward import max_positions, position_limit, vocabulary_size
from efface.progress.quiet_libraries import quiet_libraries
from efface.schema import Item, Task
from efface.text.formatter import PromptFormatter, TextConfig


@quiet_libraries()
def token_lengths(model: str, text: TextConfig) -> MeasureLengths:
    """Measure items in the tokens of `model`, all that a run would add included; the limit is that of a run.

    Of the model, only settings and tokenizer are read. Raises `EffaceError` where they cannot be used, and, from
    what is returned, for items that the format cannot show.
    """
    source = model_folder(model)
    limits = [n for n in (text.max_length, max_positions(model_config(source))) if n is not None]
    formatter = PromptFormatter(load_tokenizer(source), text.model_copy(update={"max_length": None}))

    def measure(items: Sequence[Item]) -> Lengths:
        encoded = formatter.encode([(item.id, item.prompt, item.answer) for item in items])
        return summarize_lengths([len(each) for each in encoded], "tokens", min(limits, default=None))

    return measure


@quiet_libraries()
def check_tokens(task: Task, config: DataInspectionConfig, model: str) -> None:
    """Tokenize what a run of `model` would, whatever its method; raises `EffaceError` for what would be refused.

    Of the model, only settings and tokenizer are read.
    """
    source = model_folder(model)
    try:
        shape = meta_model(model_config(source), None)
    except EffaceError as error:
        raise EffaceError(f"model {model}: {error}") from error
    limit, vocabulary = position_limit(shape), vocabulary_size(shape)
    formatter = PromptFormatter(load_tokenizer(source), config.text, limit=limit, vocabulary=vocabulary)
    formatter.encode([(item.id, item.prompt, item.answer) for item in (*task.forget, *task.retain)])
    scored = [item for each in task.evaluation for item in each.items[: config.evaluate.limit]]
    formatter.encode(answer_rows(scored))
    check_position_limit(
        shape, formatter.encode_prompts([item.prompt for item in scored]), config.evaluate.max_new_tokens
    )
