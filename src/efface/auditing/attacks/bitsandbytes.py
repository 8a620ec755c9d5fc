"""bitsandbytes: quantize, with that package's own layers and kernels, as a model is served in 4 or 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from efface.auditing.attack import Level, Unit
from efface.auditing.attacks.quantize import Quantize
from efface.auditing.measures.bitsandbytes_layers import bitsandbytes_layers, why_not_available
from efface.auditing.measures.round_to_nearest import Width
from efface.auditing.subject import Subject
from efface.errors import EffaceError

_WIDTHS: tuple[Width, ...] = ("nf4", "fp4", "int8")


class Bitsandbytes(Quantize):
    """As `quantize`, but through the layers that bitsandbytes puts into a model on a GPU.

    Its 8 bits keep outliers and multiply in integers, and its 4-bit kernels add up in another order than the rounded
    weights do. On a CPU it computes what `quantize` does, and is left out.
    """

    name: ClassVar[str] = "bitsandbytes"

    def units(self, level: Level) -> list[Unit]:
        """Every width, in `full` only."""
        return [Unit(width) for width in _WIDTHS] if level == "full" else []

    @contextmanager
    def rounded(self, subject: Subject, width: Width) -> Iterator[None]:
        """Put bitsandbytes' layers in the place of the model's for the block.

        Raises:
            EffaceError: The package or a CUDA GPU is missing, or it does not work here.
        """
        if (reason := why_not_available(subject.device)) is not None:
            raise EffaceError(reason)
        with bitsandbytes_layers(subject.model, width):
            yield
