"""Settings of training that a run on a user's data leaves open -> those for the size of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from efface.config.commands import RunConfig
from efface.config.size_defaults import default_for, is_measured, lr_source
from efface.models.memory_estimate import meta_model
from efface.progress.reporter import Reporter


def with_size_settings(config: RunConfig, read_config: Callable[[str], Any]) -> tuple[RunConfig, dict[str, str]]:
    """Fill in learning rate, forget coefficient, epochs and batch size by the number of the model's parameters.

    This is done where the learning rate is left open, for a user's data and all weights: benchmarks have published
    settings, and adapters other rates. Of the four, those that are set stay.

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
    changed = {"lr": row.lr, "epochs": row.epochs, "batch_size": row.batch_size}
    given = config.train.model_fields_set | ({"epochs"} if config.train.max_steps is not None else set())
    train = {name: value for name, value in changed.items() if name not in given}
    top = {} if "forget_coeff" in config.model_fields_set else {"forget_coeff": row.forget_coeff}
    filled = config.model_copy(update={"train": config.train.model_copy(update=train), **top})
    return filled, dict.fromkeys([*(f"train.{name}" for name in train), *top], row.source)


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
    values = {"forget_coeff": config.forget_coeff, **{f"train.{name}": value for name, value in config.train}}
    listed = ", ".join(f"{key}={values[key]:g}" for key in defaults)
    [source] = set(defaults.values())
    if not is_measured(source) or (config.train.lora is not None and config.data.source == "files"):
        reporter.on_warning(f"{listed}: {source}")
    elif config.data.source == "files":
        reporter.on_stage(f"{listed}: {source}")
