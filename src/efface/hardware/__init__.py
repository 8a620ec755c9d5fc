"""The machine: device, threads, free memory."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
