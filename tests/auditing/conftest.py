"""Fixtures of the tests of an audit."""

from __future__ import annotations

from support.audited import hidden, hidden_run, known_and_never, never
from support.run_fixtures import one_thread

__all__ = ["hidden", "hidden_run", "known_and_never", "never", "one_thread"]
