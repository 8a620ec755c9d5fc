"""Fixtures of tests that run on a tiny model."""

from __future__ import annotations

from support.run_fixtures import (  # noqa: F401
    made,
    model_in,
    one_thread,
    queue_settings,
    quick_collection,
    settings,
    source,
)
