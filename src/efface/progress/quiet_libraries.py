"""Keep the libraries underneath from writing between a run's own lines."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence bars for loading and writing weights and notes for developers; bars of downloads stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    bars, hub_bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    # tied weights at every checkpoint; each product in 8 bits; kernels for other machines, and how they are registered
    names = ("accelerate", "bitsandbytes", "torchao", "torch.utils._pytree")
    talkative = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in talkative]
    transformers_logging.disable_progress_bar()  # the hub's, too
    if hub_bars:
        enable_progress_bars()
    for logger in talkative:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between PEFT and transformers
            warnings.filterwarnings("ignore", ".*_stable_hash_for_caching")  # between torch and torchao
            yield
    finally:
        for logger, level in zip(talkative, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
        if not hub_bars:
            disable_progress_bars()
