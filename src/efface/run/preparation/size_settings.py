"""Settings of training that a run on a user's data leaves open -> those for the size of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from efface.config.commands import RunConfig
from efface.config.open_settings import is_set, with_values
from efface.config.size_defaults import default_for, is_measured, lr_source
from efface.models.memory_estimate import meta_model
from efface.progress.reporter import Reporter


def with_size_settings(config: RunConfig, read_config: Callable[[str], Any]) -> tuple[RunConfig, dict[str, str]]:
    """Fill in learning rate, forget coefficient, epochs and batch size by the number of the model's parameters.

    This is done where the learning rate is left open, for a user's data and all weights: benchmarks have published
    settings, and adapters other rates. Where a search had other positions of ME than the default, these are filled in,
    too. What is set stays.

    Args:
        config: The settings of a run or a queue.
        read_config: Name of the model -> its config.json; called where it is needed.

    Returns:
        The settings, and dotted key -> where its default comes from, for the manifest.

    Raises:
        EffaceError: The model's config.json cannot be used.
    """
    if "lr" in config.train.model_fields_set:
        return config, {}
    parameters = meta_model(read_config(config.model), None).num_parameters()
    row = default_for(parameters, config.method)
    if row is None or config.data.source != "files" or config.train.lora is not None:
        return config, {"train.lr": lr_source(parameters)}
    filled = {key: value for key, value in row.settings.items() if not is_set(config, key)}
    return with_values(config, filled), dict.fromkeys(filled, row.source)


def tell_defaults(config: RunConfig, defaults: Mapping[str, str], reporter: Reporter) -> None:
    """Say where the defaults of a run come from; a rate that was not measured for such a model is a warning.

    Of a benchmark, it says nothing else.

    Args:
        config: The settings.
        defaults: As `with_size_settings` returns them.
        reporter: Gets the sentence.
    """
    if not defaults:
        return
    values = {key: attrgetter(key)(config) for key in defaults}
    listed = ", ".join(f"{key}={value if isinstance(value, str) else f'{value:g}'}" for key, value in values.items())
    [source] = set(defaults.values())
    sentence, own_files = f"{listed} for {config.method}: {source}", config.data.source == "files"
    if not is_measured(source) or (config.train.lora is not None and own_files):
        reporter.on_warning(sentence)
    elif own_files:
        reporter.on_stage(sentence)
