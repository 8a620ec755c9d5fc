"""The base of settings and of values that are passed around: checked where they are made, and never changed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A pydantic model that refuses unknown fields and cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
