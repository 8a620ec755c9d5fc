"""`manifest.json`: how a run was made. No torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from efface.artifacts.base import Artifact

PURGED = "removed by efface purge"
"""In place of the SHA-256 of a file of the user: from that of a few words, the words can be guessed."""


class AdapterOrigin(Artifact):
    """What the LoRA adapter that a run saves is for."""

    base: str
    """The model to load it onto: a local folder, or a name on the hub."""
    base_sha256: str
    continues: str | None
    """SHA-256 of the adapter that training went on with, whose change this one includes; None for a new one."""


class Hardware(Artifact):
    """The machine of a run, without its name."""

    system: str
    """Operating system and its version."""
    processor: str
    cores: int
    threads: int
    """With which torch computes."""
    memory_bytes: int
    gpus: list[str] = Field(default=[])
    """Name of each GPU that torch sees."""
    gpu_memory_bytes: list[int] = Field(default=[])
    """Of each GPU."""
    cuda: str | None = None
    """The version that torch was built for; None for a CPU build."""


class Manifest(Artifact):
    """`manifest.json`: everything that is needed to repeat a run, and what reviews of reproducibility ask for."""

    efface: str
    commit: str | None
    command: list[str]
    seed: int
    device: str
    precision: str
    optimizer: str | None = None
    """`adamw` or `adamw8bit`, which a resumed run continues with; None if nothing is trained, or all by `adamw`."""
    versions: dict[str, str]
    hardware: Hardware | None = None
    """None in earlier versions."""
    config_sha256: str | None = None
    """Of config.yaml; None in earlier versions."""
    method_pages: list[str] = Field(default=[])
    """Of the method of a run: the pages of this documentation with its formulas and their source."""
    data: dict[str, str]
    """Source -> SHA-256; `PURGED` for a file of the user after `efface purge`."""
    splits: dict[str, int] = Field(default={})
    """Of a run: `forget` and `retain`, which are trained on, and `evaluation/NAME` -> number of items."""
    defaults: dict[str, str] = Field(default={})
    """Of a run: setting that was not given, and whose best value depends on the model -> where its value comes from."""
    plugins: dict[str, str] = Field(default={})
    """Custom objectives and metrics -> SHA-256 of their file."""
    tasks: dict[str, str] = Field(default={})
    """Custom files of downstream tasks, by their path in their folder -> SHA-256."""
    model: str
    model_sha256: str
    parameters: int | None = None
    """Number of parameters of the model of a run; None in earlier versions."""
    tokenizer: str | None = None
    """Where the tokenizer was taken from; None for the model's folder."""
    tokenizer_sha256: str | None = None
    """Of the files of that tokenizer."""
    text: dict[str, Any] = Field(default={})
    """How texts became tokens: the settings under `text`, with the date that the chat template shows as today's. Empty
    in earlier versions, and where no text was formatted."""
    adapter: AdapterOrigin | None = None
    """Of the adapter in the run's folder; None if none is trained."""
    started: str
    """UTC, ISO 8601."""
    finished: str | None = None
    """When the last stage ended: UTC, ISO 8601; None before the first has, and in earlier versions."""
    seconds: dict[str, float] = Field(default={})
    """Stage -> wall-clock seconds."""
    peak_memory_bytes: int | None = None
    notes: list[str] = Field(default=[])
    files: dict[str, str] | None = None
    """SHA-256 of what the run wrote, by path in its folder, without what was purged; None for a run of an earlier
    version."""
    writing: dict[str, str] = Field(default={})
    """The same of files that are just being written, or were when the run was killed."""
    purged: list[str] = Field(default=[])
    """Files and folders that were removed on purpose, by path in the run's folder."""

    def is_purged(self, name: str) -> bool:
        """Whether a file was removed on purpose, or a folder that it was in.

        Args:
            name: Path in the run's folder.
        """
        return any(name == each or name.startswith(f"{each}/") for each in self.purged)

    @property
    def purged_data(self) -> list[str]:
        """Sources of data whose SHA-256 was removed."""
        return [source for source, digest in self.data.items() if digest == PURGED]
