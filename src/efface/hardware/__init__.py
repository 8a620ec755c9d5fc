"""The machine: device, threads, free memory."""

from __future__ import annotations

from efface.hardware.choices import Device

__all__ = ["Device"]
