"""Ask the doctor, and look at its findings."""

from __future__ import annotations

from pathlib import Path

from efface.config.commands import RunConfig
from efface.preflight.diagnosis import Diagnosis, Finding
from efface.preflight.doctor import examine_run
from efface.progress.reporter import SilentReporter


def look(config: RunConfig, steps: int = 0, data_dir: Path | None = None) -> Diagnosis:
    """Examine a run, without measuring it unless `steps` are given."""
    return examine_run(config, data_dir=data_dir, steps=steps, reporter=SilentReporter())


def of(found: Diagnosis, about: str) -> Finding:
    """The only finding about something."""
    (finding,) = (each for each in found.findings if each.about == about)
    return finding
