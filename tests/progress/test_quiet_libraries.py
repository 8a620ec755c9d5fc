"""The libraries underneath are silent during a run, and as before afterwards."""

from __future__ import annotations

import logging
import warnings

import pytest
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging as transformers_logging

from efface.progress.quiet_libraries import quiet_libraries


@pytest.fixture(params=[True, False], ids=["bars on", "bars off"])
def bars(request):
    before = transformers_logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    switch = transformers_logging.enable_progress_bar if request.param else transformers_logging.disable_progress_bar
    switch()
    yield request.param
    (transformers_logging.enable_progress_bar if before[0] else transformers_logging.disable_progress_bar)()
    (disable_progress_bars if before[1] else enable_progress_bars)()


def test_bars_of_weights_are_off_and_those_of_downloads_as_they_were(bars):
    with quiet_libraries():
        assert not transformers_logging.is_progress_bar_enabled()
        assert are_progress_bars_disabled() != bars
    assert transformers_logging.is_progress_bar_enabled() == bars
    assert are_progress_bars_disabled() != bars


def test_deepspeed_is_silent_though_it_sets_its_level_when_it_is_imported(caplog):
    logger = logging.getLogger("DeepSpeed")
    with quiet_libraries():
        logger.setLevel(logging.WARNING)
        logger.warning("Setting accelerator to CPU")
        logger.error("no space left")
    logger.warning("afterwards")
    assert caplog.messages == ["no space left", "afterwards"]


@quiet_libraries()
def talk_and_fail():
    logging.getLogger("accelerate.utils.other").warning("Removed shared tensor")
    logging.getLogger("bitsandbytes.autograd._functions").warning("inputs will be cast")
    warnings.warn("deprecated", FutureWarning, stacklevel=1)
    warnings.warn("told", UserWarning, stacklevel=1)
    raise KeyError


def test_notes_for_developers_are_off_and_come_back(caplog):
    caplog.set_level(logging.INFO, logger="accelerate")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(KeyError):
            talk_and_fail()
        warnings.warn("deprecated", FutureWarning, stacklevel=1)
    assert [str(each.message) for each in caught] == ["told", "deprecated"]
    assert caplog.messages == []
    assert logging.getLogger("accelerate").level == logging.INFO


def test_a_type_of_model_that_is_refused_with_a_sentence_has_no_warning():
    """Its logger does not propagate, so that nothing collects what it says."""
    logger = logging.getLogger("transformers.configuration_utils")
    assert logger.isEnabledFor(logging.WARNING)
    with quiet_libraries():
        assert not logger.isEnabledFor(logging.WARNING)
