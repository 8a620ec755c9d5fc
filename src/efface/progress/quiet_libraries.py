"""Keep libraries from printing between the lines of a run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from efface.progress.verbosity import current_verbosity


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence progress bars for weights and warnings for developers, of transformers and others, inside the block.

    Bars of downloads stay as they are. Afterwards, everything is as before. With `--verbose`, nothing is silenced.
    """
    if current_verbosity() == "verbose":
        yield
        return
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    bars, hub_bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    # about tied weights at each checkpoint, about each 8-bit product, about kernels of other machines and pytree types,
    # types of models that are refused with a sentence, all weights that do not fit or are not sharded
    names = (
        "accelerate",
        "bitsandbytes",
        "torchao",
        "torch.utils._pytree",
        "transformers.configuration_utils",
        "transformers.distributed.tensor_parallel",
        "transformers.integrations.tensor_parallel",
        "transformers.modeling_utils",
    )
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    transformers_logging.disable_progress_bar()  # also those of the hub client
    if hub_bars:
        enable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    deepspeed = logging.getLogger("DeepSpeed")
    deepspeed.addFilter(_is_error)  # it sets its level when it is imported, as accelerate does when a model is saved
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between PEFT and transformers
            warnings.filterwarnings("ignore", ".*_stable_hash_for_caching")  # between torch and torchao
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        deepspeed.removeFilter(_is_error)
        if bars:
            transformers_logging.enable_progress_bar()
        if not hub_bars:
            disable_progress_bars()


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
