"""Fixtures of tests that run on a tiny model."""

from __future__ import annotations

from support.run_fixtures import (  # noqa: F401
    files_of_at_most,
    made,
    model_in,
    one_thread,
    settings,
    source,
)
