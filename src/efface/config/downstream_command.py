"""What `efface downstream` needs to know. No torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from efface.downstream.config import DownstreamConfig
from efface.hardware import Device


class DownstreamRunConfig(BaseModel):
    """Everything that decides the scores of one model by `efface downstream`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """A folder, or a name on the Hugging Face hub."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Decides which examples come before a question."""
    device: Device = "auto"
    downstream: DownstreamConfig = DownstreamConfig()
