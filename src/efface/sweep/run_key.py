"""By what a run is known again: its settings and the content of everything that it is made of, never a name. No torch.

What changes nothing but rounding is left out: the device, how many tokens go through the model at once, checkpoints
and trackers. Manifests tell where a run was made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import efface
from efface.artifacts import Manifest
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.data.config import MODEL_ANSWERS, DataConfig, FileConfig, ForgetRequest
from efface.evaluation.config import EvaluateConfig

AnyConfig = RunConfig | FinetuneConfig | EvaluationConfig

_IDENTIFIED_BY_CONTENT: dict[str, Any] = {
    **dict.fromkeys(("model", "reference", "plugins", "device", "data"), True),
    "continual": {"requests", "keep_models"},
    "downstream": {"include"},
}
"""Settings that are known by the content they stand for, or not at all."""
_WITHOUT_EFFECT = {
    "train": ("max_tokens_per_forward", "gradient_checkpointing", "save_steps", "kl_reference", "tracker"),
    "evaluate": ("max_cache_tokens", "max_tokens_per_forward"),
    "downstream": ("batch_size",),
}
_WHICH_FILE = {"path", "subset", "split", "revision"}
_REFERENCE_NOTE = re.compile(r"compared with .* \(sha256 ([0-9a-f]{64})\)", re.DOTALL)
"""How a manifest tells the hash of a reference of its own."""


@dataclass(frozen=True)
class Contents:
    """Hashes of what a run is made of."""

    model: str
    data: Mapping[str, str]
    """As in `Task.sources`, in that order."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """As in a manifest: the spec of a plug-in -> the hash of its file."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """As in a manifest: a file of downstream tasks -> its hash."""
    reference: str | None = None
    """Of the model to compare with, where it is another one."""
    efface: str = efface.__version__


def contents_of(manifest: Manifest) -> Contents:
    """What a run was made of."""
    compared = [match[1] for note in manifest.notes if (match := _REFERENCE_NOTE.fullmatch(note))]
    return Contents(
        model=manifest.model_sha256,
        data=manifest.data,
        plugins=manifest.plugins,
        tasks=manifest.tasks,
        reference=compared[0] if compared else None,
        efface=manifest.efface,
    )


def key(config: AnyConfig, contents: Contents) -> str:
    """The digest of a run, fine-tuning or evaluation: what has the same one has the same results."""
    return _digest(
        {
            "kind": type(config).__name__,
            "settings": _decisive(config, _IDENTIFIED_BY_CONTENT),
            "data": _data(config.data, contents.data, _requests(config)),
            "plugins": sorted([spec.rpartition(":")[2], sha256] for spec, sha256 in contents.plugins.items()),
            "tasks": dict(contents.tasks),
            "model": contents.model,
            "reference": contents.reference,
            "efface": contents.efface,
        }
    )


def before_key(config: RunConfig, contents: Contents) -> str:
    """The digest of the records of the model before unlearning."""
    asked = config.model_copy(update={"evaluate": without_epochs(config.evaluate)})
    return _digest(
        {
            "settings": _decisive(asked, _all_but("text", "evaluate")),
            "data": _data(config.data, contents.data, _requests(config)),
            "model": contents.model,
            "efface": contents.efface,
        }
    )


def downstream_key(config: RunConfig, contents: Contents) -> str:
    """The digest of the scores of the model before unlearning on downstream tasks."""
    return _digest(
        {
            "settings": _decisive(config, {**_all_but("seed"), "downstream": _IDENTIFIED_BY_CONTENT["downstream"]}),
            "tasks": dict(contents.tasks),
            "model": contents.model,
            "efface": contents.efface,
        }
    )


def without_epochs(evaluate: EvaluateConfig) -> EvaluateConfig:
    """How a model that no run trains is questioned: it has no epochs."""
    return evaluate.model_copy(update={"every": None, "select_epoch": "last"})


def short(digest: str) -> str:
    """As much of a digest as a folder's name needs."""
    return digest[:12]


def _all_but(*names: str) -> dict[str, Any]:
    return {name: True for name in RunConfig.model_fields if name not in names}


def _decisive(config: AnyConfig, left_out: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide results, where they are not the defaults: new ones leave old digests as they are."""
    plain = {
        group: part.model_copy(update={name: type(part).model_fields[name].default for name in names})
        for group, names in _WITHOUT_EFFECT.items()
        if isinstance(part := getattr(config, group, None), BaseModel)
    }
    return config.model_copy(update=plain).model_dump(mode="json", exclude_defaults=True, exclude=left_out)


def _requests(config: AnyConfig) -> tuple[ForgetRequest, ...]:
    """What is unlearned in turn; nothing for a single request."""
    queue = getattr(config, "continual", None)
    return queue.requests if queue else ()


def _data(config: DataConfig, sources: Mapping[str, str], requests: Sequence[ForgetRequest]) -> dict[str, Any]:
    """Settings of the data in which files are numbers, and the hashes that the numbers stand for."""
    given = (config.forget, *config.forgotten_before, config.retain, config.extra_retain, *requests)
    places = list(dict.fromkeys(_place(each) for each in given if isinstance(each, FileConfig)))
    hashes = list(sources.values())
    if config.retain == MODEL_ANSWERS:  # which come last, and only a run knows them: its model and settings decide them
        hashes = hashes[: len(places)]

    def known(value: Any) -> Any:
        if not isinstance(value, FileConfig):
            return value
        settings = value.model_dump(mode="json", exclude_defaults=True, exclude=_WHICH_FILE)
        return {**settings, "file": places.index(_place(value))}

    names = {"forget", "forgotten_before", "retain", "extra_retain"}
    settings = config.model_dump(mode="json", exclude_defaults=True, exclude=names)
    named = {name: known(getattr(config, name)) for name in names - {"forgotten_before"}}
    several = {"forgotten_before": list(map(known, config.forgotten_before)), "requests": list(map(known, requests))}
    return {**settings, **named, **several, "hashes": hashes}


def _place(file: FileConfig) -> tuple[str | None, ...]:
    return str(Path(file.path).expanduser()), file.subset, file.split, file.revision


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
