"""Settings of `efface audit`. No torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, field_validator

from efface.auditing.attack import Attack, Level
from efface.config.plugins import Plugin, load_plugins
from efface.frozen import FrozenModel
from efface.hardware import Device

AttackPlugins = Annotated[
    tuple[Plugin, ...],
    PlainValidator(lambda given: load_plugins(given, (Attack,))),
    PlainSerializer(lambda plugins: [plugin.spec for plugin in plugins], return_type=list[str]),
]


class AuditSettings(FrozenModel):
    """What is tried, and for how long."""

    model_config = ConfigDict(allow_inf_nan=False)

    level: Level = "quick"
    """`quick`: 20 facts, few variants and steps. `standard`: all facts. `full`: everything, with three seeds."""
    minutes: float | None = Field(default=None, gt=0, le=1_000_000)
    """Most minutes; what does not fit is left out, the same for the control, and named in the results. Default: as long
    as the level takes."""
    attacks: tuple[str, ...] = ("weights",)
    """Which attacks, or names of some: `asks` needs no weights, `weights` adds those that change or read them, `both`
    adds those that need the model before unlearning, too."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of every random choice, such as samples and the facts that an attacker has."""

    @field_validator("attacks", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if value is None:  # `audit.attacks=`
            return ()
        if not isinstance(value, str):
            return value
        return tuple(name for each in value.strip(" []").split(",") if (name := each.strip()))

    @field_validator("attacks")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("attacks is empty; give asks, weights, both, or names of attacks")
        return value


class AuditConfig(FrozenModel):
    """Settings of `efface audit`; the rest is taken from the audited run."""

    audit: AuditSettings = AuditSettings()
    """What is tried."""
    plugins: AttackPlugins = ()
    """Python files or modules with custom attacks, such as `[mine.py]`."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a CUDA GPU where there is one, otherwise the CPU."""
