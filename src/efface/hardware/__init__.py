"""The machine -> device, number of threads and free memory."""

from __future__ import annotations

from efface.hardware.choices import Device

__all__ = ["Device"]
