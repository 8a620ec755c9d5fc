"""`efface audit`: a finished run -> which facts that its model knew before can be brought back, and by which attack."""

from __future__ import annotations

from efface.audit import callable_package

__all__ = ["callable_package"]
