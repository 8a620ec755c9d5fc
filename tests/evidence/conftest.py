"""Fixtures of records."""

from __future__ import annotations

from support.evidence import run, signing_key, work, write_run  # noqa: F401
from support.run_fixtures import made  # noqa: F401
