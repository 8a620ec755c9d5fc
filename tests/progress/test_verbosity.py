"""--quiet and --verbose: what is printed while a run works."""

from __future__ import annotations

import io
import logging

from rich.console import Console

from efface.progress.console import ConsoleReporter
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.verbosity import Verbosity, current_verbosity, verbosity
from efface.train.step_log import StepLog


def printed(chosen: Verbosity) -> list[str]:
    text = io.StringIO()
    with verbosity(chosen), ConsoleReporter(Console(file=text, width=120)) as reporter:
        reporter.on_stage("unlearning")
        reporter.on_warning("little memory")
        for step in range(1, 4):
            numbers = {"loss": 1.0, "forget": 2.0, "retain": 3.0, "grad_norm": 1.0, "lr": 1e-5, "seconds": 1.0}
            reporter.on_step(StepLog(step=step, steps=3, tokens=10, **numbers))
        reporter.on_progress("outputs", 1.5, 3)
    return text.getvalue().splitlines()


def test_what_is_printed() -> None:
    last = "  step 3/3 loss 1 forget 2 retain 3 10 tokens/s"
    assert printed("quiet") == ["warning: little memory"]
    assert printed("normal") == ["• unlearning", "warning: little memory", last]
    verbose = printed("verbose")
    assert [line.split()[1] for line in verbose[2:]] == ["1/3", "2/3", "3/3"]
    assert verbose[-1] == last


def test_verbosity_ends_with_its_block() -> None:
    assert current_verbosity() == "normal"
    with verbosity("verbose"):
        assert current_verbosity() == "verbose"
    assert current_verbosity() == "normal"


def test_libraries_speak_with_verbose() -> None:
    logger = logging.getLogger("transformers.modeling_utils")
    level = logger.level
    with verbosity("verbose"), quiet_libraries():
        assert logger.level == level
    with quiet_libraries():
        assert logger.level == logging.ERROR
