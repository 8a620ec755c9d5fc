"""The manifest of a run: versions, device, precision, hashes, commit."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch

import efface
from efface import distributed
from efface.artifacts import AdapterOrigin, Hardware, Manifest
from efface.config.plugins import Plugin, plugin_hashes
from efface.errors import EffaceError
from efface.hardware.processor import processor_cores, processor_name
from efface.models.tokenizer import NamedTokenizer
from efface.objectives.config import FORGET, LLMU, RETAIN
from efface.objectives.custom import CustomObjective
from efface.progress.reporter import Reporter
from efface.run.metadata.commit import source_commit
from efface.train.config import TrainConfig
from efface.train.precision import computation

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
    "bitsandbytes",
    "safetensors",
    "scipy",
    "rouge-score",
)


def make_manifest(
    *,
    seed: int,
    device: torch.device,
    precision: str,
    data: Mapping[str, str],
    model: str,
    model_sha256: str,
    parameters: int | None = None,
    tokenizer: NamedTokenizer | None = None,
    text: Mapping[str, Any] | None = None,
    adapter: AdapterOrigin | None = None,
    optimizer: str | None = None,
    method: str | None = None,
    defaults: Mapping[str, str] | None = None,
    splits: Mapping[str, int] | None = None,
    plugins: Iterable[Plugin] = (),
    tasks: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
) -> Manifest:
    """The manifest of a run that starts now.

    Args:
        seed: Of all random draws.
        device: Where the run computes.
        precision: In words, as `precision` gives it for training.
        data: Data source -> SHA-256.
        model: Name or folder of the model, as given by the user.
        model_sha256: Hash of its files.
        parameters: Number of its parameters.
        tokenizer: The tokenizer; None if it is one of these files.
        text: How texts become tokens, as `PromptFormatter.recorded_settings` has it.
        adapter: What the adapter that is trained is for; None where none is trained.
        optimizer: The optimizer that was resolved; None where nothing is trained.
        method: The unlearning method; None where nothing is unlearned.
        defaults: Setting that was not given -> where its value comes from.
        splits: Part of the data -> number of items.
        plugins: Custom objectives and metrics.
        tasks: Custom downstream task file -> SHA-256.
        notes: What else a reader should know.
    """
    return Manifest(
        efface=efface.__version__,
        commit=source_commit(),
        command=sys.argv,
        seed=seed,
        device=_device_name(device),
        precision=precision,
        optimizer=optimizer,
        versions={"python": platform.python_version(), **_versions()},
        hardware=_hardware(),
        method_pages=method_pages(method),
        data=dict(data),
        defaults=dict(defaults or {}),
        splits=dict(splits or {}),
        plugins=plugin_hashes(plugins),
        tasks=dict(tasks or {}),
        model=model,
        model_sha256=model_sha256,
        parameters=parameters,
        tokenizer=None if tokenizer is None else tokenizer.name,
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256,
        text=dict(text or {}),
        adapter=adapter,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=list(notes),
        files={},
    )


def method_pages(method: str | None) -> list[str]:
    """The pages of the documentation on a method, its objective and its regularizer; none of a plug-in.

    Args:
        method: Such as `me+gd`; None for none.
    """
    built_in = {*FORGET, *RETAIN, LLMU}
    return [f"docs/methods/{name}.md" for name in (method or "").split("+") if name in built_in]


def resume_manifest(
    earlier: Manifest | None, now: Manifest, *, reporter: Reporter, allow_new_data: bool = False
) -> Manifest:
    """The manifest of a run that may be resumed: `now` with the start, times and notes of `earlier`, and a new note.

    Args:
        earlier: The manifest in the run's folder; None for a new run.
        now: What `make_manifest` returned.
        reporter: Gets a warning if versions or the device have changed, since the result may be another one.
        allow_new_data: Accept data that `earlier` does not have, as a queue with further requests needs.

    Raises:
        EffaceError: The model, its tokenizer, the data or the downstream tasks have changed since the run started.
    """
    if earlier is None:
        return now
    if earlier.model_sha256 != now.model_sha256:
        raise _changed(f"model {now.model}")
    if earlier.tokenizer_sha256 != now.tokenizer_sha256:
        raise _changed(f"tokenizer {now.tokenizer or earlier.tokenizer}")
    if _changed_adapter(earlier.adapter, now.adapter):
        raise _changed("the adapter beside the model, or the model that it is for,")
    for source in (*earlier.data, *(() if allow_new_data else now.data)):
        if earlier.data.get(source) != now.data.get(source):
            raise _changed(source)
    if earlier.tasks != now.tasks:
        raise _changed("a file in downstream.include")  # scores before and after would not be comparable
    changed = changes(earlier, now)
    if changed:
        text = ", ".join(f"{name} was {before} and is {after}" for name, (before, after) in changed.items())
        reporter.on_warning(f"since this was started, {text}; the result may differ from that of an uninterrupted run")
    note = ", ".join([f"resumed {now.started}", *(f"{name} was {before}" for name, (before, _) in changed.items())])
    return now.model_copy(
        update={
            **earlier.model_dump(include={"started", "finished", "seconds", "files", "writing", "purged"}),
            "notes": [*earlier.notes, note],
        }
    )


def changes(earlier: Manifest, now: Manifest) -> dict[str, tuple[str | None, str | None]]:
    """What has changed that may change numbers: versions of efface and of libraries, the device, plug-ins.

    Args:
        earlier: The manifest of a run; what it does not have, such as a library that an earlier version did not
            record, has not changed.
        now: The manifest of the same run now.

    Returns:
        Name -> before and now.
    """
    before, after = _changeable(earlier), _changeable(now)
    return {name: (value, after.get(name)) for name, value in before.items() if after.get(name) != value}


def check_objectives(earlier: Manifest, plugins: Iterable[Plugin]) -> None:
    """Refuse to continue training with a custom objective whose file has changed: the loss would be another one.

    A metric may change, and so may anything once training is complete.

    Args:
        earlier: The manifest of the run that is resumed.
        plugins: Custom objectives and metrics of the run.

    Raises:
        EffaceError: An objective has changed.
    """
    for spec, digest in plugin_hashes(each for each in plugins if issubclass(each.cls, CustomObjective)).items():
        if earlier.plugins.get(spec, digest) != digest:
            raise _changed(spec)


def training_precision(config: TrainConfig, device: torch.device) -> str:
    """The precision of the forward and backward pass, in words.

    Args:
        config: With the optimizer resolved.
        device: Where the run computes.

    Returns:
        Such as `bf16 autocast on a base in 4 bits`.
    """
    if config.optimizer == "adamw8bit":
        return "bf16"
    precision = computation(config, device.type)
    bits = config.lora.bits if config.lora else None
    return precision if bits is None else f"{precision} on a base in {bits} bits"


def precision(config: TrainConfig, device: torch.device) -> str:
    """The precision of the trained weights, of the optimizer and of the forward and backward pass, in words.

    Args:
        config: With the optimizer resolved.
        device: Where the run computes.
    """
    if config.optimizer == "adamw8bit":
        stored = "weights bf16 with stochastic rounding, AdamW states 8 bit"
    elif config.lora is not None and config.lora.bits is None and config.bf16_on(device.type):
        stored = "adapters and optimizer float32, base bf16"
    else:
        stored = f"{'weights' if config.lora is None else 'adapters'} and optimizer float32"
    return f"{stored}, training {training_precision(config, device)}"


def _changed_adapter(earlier: AdapterOrigin | None, now: AdapterOrigin | None) -> bool:
    """Whether training would go on with another adapter; names may change, and earlier versions noted no adapter."""
    if earlier is None or now is None:
        return False
    return (earlier.base_sha256, earlier.continues) != (now.base_sha256, now.continues)


def _changed(what: str) -> EffaceError:
    return EffaceError(f"--resume: {what} has changed since the run started; start over in another --out")


def _changeable(manifest: Manifest) -> dict[str, str | None]:
    """What may differ between the parts of a run, and change its numbers."""
    return {
        "efface": manifest.efface,
        "commit": manifest.commit,
        "device": manifest.device,
        **manifest.versions,
        **manifest.plugins,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hardware() -> Hardware:
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return Hardware(
        system=platform.platform(),
        processor=processor_name(),
        cores=processor_cores(),
        threads=torch.get_num_threads(),
        memory_bytes=psutil.virtual_memory().total,
        gpus=[gpu.name for gpu in gpus],
        gpu_memory_bytes=[gpu.total_memory for gpu in gpus],
        cuda=torch.version.cuda,
    )


def _device_name(device: torch.device) -> str:
    """The device, and the number of processes that have one each."""
    one = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
    return one if distributed.world_size() == 1 else f"{distributed.world_size()} processes, each on {one}"


def _cpu() -> str:
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"
