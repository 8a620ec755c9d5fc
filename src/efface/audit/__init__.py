"""`efface audit`: a finished run -> which facts that its model knew before can be brought back, and by which attack."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """`efface.audit` is this package, which Python sets there when it is imported, and the function of that name."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Call `efface.api.auditing.audit`."""
        return import_module("efface.api.auditing").audit(*arguments, **settings)


sys.modules[__name__].__class__ = _CallablePackage
