"""Makes the package `efface.audit` the function of that name, too: Python sets the package there on its import."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """The package `efface.audit`, which can be called like the other functions of the library."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Call `efface.api.auditing.audit`."""
        return import_module("efface.api.auditing").audit(*arguments, **settings)


sys.modules["efface.audit"].__class__ = CallablePackage
