"""Fixtures of tests that run on a tiny model."""

from __future__ import annotations

from support.run_fixtures import (  # noqa: F401
    child,
    model_in,
    one_thread,
    queue_settings,
    settings,
    source,
)
