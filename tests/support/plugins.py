"""A file with plug-ins."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

PLUGINS = """\
import efface
from efface import ForgetObjective, RecordMetric


class Ascent(ForgetObjective):
    name = "ascent"

    def term(self, config):
        return efface.TokenTerm("forget", lambda logp_N: logp_N)


class Length(RecordMetric):
    name = "length"

    def score(self, record):
        return len(record.output)


class _Private(RecordMetric):
    name = "private"


class Helper:
    pass
"""
"""Content of a file with a custom objective, which is gradient ascent, and a custom metric."""


def write(path: str | Path, text: str) -> Path:
    """Write a Python file, with its folders."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(dedent(text))
    return Path(path)
