"""The machine -> device, number of threads and free memory."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
