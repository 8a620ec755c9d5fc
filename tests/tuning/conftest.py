"""Fixtures of tests of searches."""

from __future__ import annotations

from support.run_fixtures import one_thread  # noqa: F401
from support.tune_fixtures import taught_towns  # noqa: F401
