"""`efface data describe` through a model's eyes: how many tokens the items take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from efface.data import load_task
from efface.data.describe import Description, Lengths, Measure, describe, lengths
from efface.run.config import LookConfig
from efface.run.quiet import quiet_libraries
from efface.schema import Item
from efface.text.template import Formatter


def describe_data(config: LookConfig, *, data_dir: Path | None = None) -> Description:
    """Load the data that `config` names and describe it; lengths are in tokens where a model is named.

    Of the model, only settings and tokenizer are read. Raises `EffaceError` for data or a model that cannot be used.
    """
    task = load_task(config.data, data_dir=data_dir)
    measure = None if config.model is None else _in_tokens(config.model, config)
    return describe(task, embedder=config.evaluate.embedder, judge=config.evaluate.judge, measure=measure)


@quiet_libraries()
def _in_tokens(model: str, config: LookConfig) -> Measure:
    from efface.run.models import load_settings, load_tokenizer, model_folder
    from efface.text.forward import positions_in

    source = model_folder(model)
    limits = [n for n in (config.text.max_length, positions_in(load_settings(source))) if n is not None]
    formatter = Formatter(load_tokenizer(source), config.text.model_copy(update={"max_length": None}))

    def measure(items: Sequence[Item]) -> Lengths:
        encoded = formatter.encode([(item.id, item.prompt, item.answer) for item in items])
        return lengths([len(each) for each in encoded], "tokens", min(limits, default=None))

    return measure
