"""What made a run: versions, device, precision, hashes, commit."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import efface
from efface import distributed
from efface.artifacts import Manifest
from efface.config.plugins import Plugin, plugin_hashes
from efface.errors import EffaceError
from efface.objectives.custom import CustomObjective
from efface.train.config import TrainConfig

_PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "tokenizers",
    "sentence-transformers",
    "lm-eval",
    "numpy",
    "torchao",
)


def make_manifest(
    *,
    seed: int,
    device: torch.device,
    precision: str,
    data: Mapping[str, str],
    model: str,
    model_sha256: str,
    optimizer: str | None = None,
    plugins: Iterable[Plugin] = (),
    tasks: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of a run that starts now."""
    return Manifest(
        efface=efface.__version__,
        commit=_commit(),
        command=sys.argv,
        seed=seed,
        device=_named(device),
        precision=precision,
        optimizer=optimizer,
        versions={"python": platform.python_version(), **_versions()},
        data=dict(data),
        plugins=plugin_hashes(plugins),
        tasks=dict(tasks or {}),
        model=model,
        model_sha256=model_sha256,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def resume_manifest(earlier: Manifest, now: Manifest) -> Manifest:
    """The manifest of a run that goes on: `now`, with the start and the times of `earlier`, and a note.

    Raises `EffaceError` where the model or the data are no longer those that the run was started with.
    """
    if earlier.model_sha256 != now.model_sha256:
        raise EffaceError(f"--resume: model {now.model} has changed since the run started; start anew in another --out")
    if earlier.data != now.data:
        raise EffaceError("--resume: the data have changed since the run started; start anew in another --out")
    check_task_files(earlier, now)
    before, after = _made_with(earlier), _made_with(now)
    changed = [f"{name} was {before.get(name)}" for name, value in after.items() if before.get(name) != value]
    note = ", ".join([f"resumed {now.started}", *changed])
    kept = {"started": earlier.started, "seconds": earlier.seconds, "notes": [*earlier.notes, note]}
    return now.model_copy(update=kept)


def check_task_files(earlier: Manifest, now: Manifest) -> None:
    """Refuse to compare scores before and after on tasks that are no longer the same. Raises `EffaceError`."""
    if earlier.tasks != now.tasks:
        raise EffaceError(
            "--resume: files in downstream.include have changed since the run started; start anew in another --out"
        )


def check_objectives(earlier: Manifest, plugins: Iterable[Plugin]) -> None:
    """Refuse to go on training with an objective of the user's own whose file has changed: half a loss is none.

    A metric may change, and so may anything once the training is over. Raises `EffaceError`.
    """
    for spec, digest in plugin_hashes(each for each in plugins if issubclass(each.cls, CustomObjective)).items():
        if earlier.plugins.get(spec, digest) != digest:
            raise EffaceError(f"--resume: {spec} has changed since the run started; start anew in another --out")


def training_precision(config: TrainConfig, device: torch.device) -> str:
    """Of the forward and backward pass, in words."""
    if config.optimizer == "adamw8bit":
        return "bf16"
    precision = "bf16 autocast" if config.bf16_on(device.type) else "float32"
    bits = config.lora.bits if config.lora else None
    return precision if bits is None else f"{precision} on a base in {bits} bits"


def precision(config: TrainConfig, device: torch.device) -> str:
    """Of what is trained, its optimizer, and the forward and backward pass, in words; `optimizer` is settled."""
    if config.optimizer == "adamw8bit":
        kept = "weights bf16 with stochastic rounding, AdamW states 8 bit"
    elif config.lora is not None and config.lora.bits is None and config.bf16_on(device.type):
        kept = "adapters and optimizer float32, base bf16"
    else:
        kept = f"{'weights' if config.lora is None else 'adapters'} and optimizer float32"
    return f"{kept}, training {training_precision(config, device)}"


def _made_with(made: Manifest) -> dict[str, str | None]:
    """What may differ between the parts of a run, and change its numbers."""
    return {"efface": made.efface, "commit": made.commit, "device": made.device, **made.versions, **made.plugins}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _named(device: torch.device) -> str:
    """The device, and how many processes have one each."""
    one = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
    return one if distributed.world_size() == 1 else f"{distributed.world_size()} processes, each on {one}"


def _cpu() -> str:
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def _commit() -> str | None:
    """The commit of efface's own checkout, `-dirty` where files differ from it; None for an installed package."""
    root = Path(efface.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
