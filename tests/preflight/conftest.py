"""Fixtures of tests that run on a tiny model."""

from __future__ import annotations

from support.run_fixtures import model_in, one_thread, settings, source  # noqa: F401
