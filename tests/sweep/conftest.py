"""Fixtures of tests that run sweeps of a tiny model."""

from __future__ import annotations

from support.sweep_fixtures import (  # noqa: F401
    base,
    complete,
    content,
    copied,
    settings,
    single_thread,
    spec,
)
