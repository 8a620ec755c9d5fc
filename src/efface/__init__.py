"""efface: make a language model forget, and measure what it still knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.train.losses import losses
    from efface.train.step import Losses

__version__ = "0.1.0"
__all__ = ["EffaceError", "Losses", "__version__", "losses"]


def __getattr__(name: str) -> Any:  # torch is imported where it is first needed, not by `import efface`
    if name in ("losses", "Losses"):
        from efface.train import losses as module

        return getattr(module, name)
    raise AttributeError(f"module 'efface' has no attribute {name!r}")
