"""The values of the setting `device`. No torch."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
"""`auto` is CUDA if torch sees a GPU, else the CPU."""
