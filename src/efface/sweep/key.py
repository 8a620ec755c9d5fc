"""By what a run is known again: its settings and the content of everything that it is made of, never a name. No torch.

What changes nothing but rounding is left out: the device, how many tokens go through the model at once, checkpoints
and trackers. Manifests tell where a run was made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import efface
from efface.artifacts import Manifest
from efface.data.config import OWN_ANSWERS, DataConfig, FileConfig
from efface.evaluation.config import EvaluateConfig
from efface.run.config import EvaluationConfig, FinetuneConfig, RunConfig
from efface.scenarios.continual import ContinualConfig

AnyConfig = RunConfig | FinetuneConfig | EvaluationConfig

_NAMES = {"model", "reference", "plugins", "device", "data", "continual"}
"""Settings that are known by the content they stand for, or not at all."""
_IDLE = {
    "train": ("token_budget", "gradient_checkpointing", "checkpoint_every", "tracker"),
    "evaluate": ("batch_tokens", "token_budget"),
}
_WHICH_FILE = {"path", "subset", "split", "revision"}
_COMPARED = re.compile(r"compared with .* \(sha256 ([0-9a-f]{64})\)", re.DOTALL)
"""How a manifest tells the hash of a reference of its own."""


@dataclass(frozen=True)
class Contents:
    """Hashes of what a run is made of."""

    model: str
    data: Mapping[str, str]
    """As in `Task.sources`, in that order."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """As in a manifest: the spec of a plug-in -> the hash of its file."""
    reference: str | None = None
    """Of the model to compare with, where it is another one."""
    efface: str = efface.__version__


def contents_of(manifest: Manifest) -> Contents:
    """What a run was made of."""
    compared = [match[1] for note in manifest.notes if (match := _COMPARED.fullmatch(note))]
    return Contents(
        model=manifest.model_sha256,
        data=manifest.data,
        plugins=manifest.plugins,
        reference=compared[0] if compared else None,
        efface=manifest.efface,
    )


def key(config: AnyConfig, contents: Contents) -> str:
    """The digest of a run, fine-tuning or evaluation: what has the same one has the same results."""
    return _digest(
        {
            "kind": type(config).__name__,
            "settings": _decisive(config, _NAMES),
            "data": _data(config.data, contents.data, getattr(config, "continual", None)),
            "plugins": sorted([spec.rpartition(":")[2], sha256] for spec, sha256 in contents.plugins.items()),
            "model": contents.model,
            "reference": contents.reference,
            "efface": contents.efface,
        }
    )


def before_key(config: RunConfig, contents: Contents) -> str:
    """The digest of the records of the model before unlearning."""
    asked = config.model_copy(update={"evaluate": once(config.evaluate)})
    return _digest(
        {
            "settings": _decisive(asked, set(RunConfig.model_fields) - {"text", "evaluate"}),
            "data": _data(config.data, contents.data),
            "model": contents.model,
            "efface": contents.efface,
        }
    )


def once(evaluate: EvaluateConfig) -> EvaluateConfig:
    """How a model that no run trains is questioned: it has no epochs."""
    return evaluate.model_copy(update={"every": None, "keep": "last"})


def short(digest: str) -> str:
    """As much of a digest as a folder's name needs."""
    return digest[:12]


def _decisive(config: AnyConfig, left_out: set[str]) -> dict[str, Any]:
    """The settings that decide results, where they are not the defaults: new ones leave old digests as they are."""
    plain = {
        group: part.model_copy(update={name: type(part).model_fields[name].default for name in names})
        for group, names in _IDLE.items()
        if isinstance(part := getattr(config, group, None), BaseModel)
    }
    return config.model_copy(update=plain).model_dump(mode="json", exclude_defaults=True, exclude=left_out)


def _data(config: DataConfig, sources: Mapping[str, str], continual: ContinualConfig | None = None) -> dict[str, Any]:
    """Settings of the data in which files are numbers, and the hashes that the numbers stand for."""
    requests = () if continual is None else continual.requests
    given = (config.forget, *config.after, config.retain, config.padding, *requests)
    places = list(dict.fromkeys(_place(each) for each in given if isinstance(each, FileConfig)))
    hashes = list(sources.values())
    if config.retain == OWN_ANSWERS:  # which come last, and only a run knows them: its model and settings decide them
        hashes = hashes[: len(places)]

    def known(value: Any) -> Any:
        if not isinstance(value, FileConfig):
            return value
        settings = value.model_dump(mode="json", exclude_defaults=True, exclude=_WHICH_FILE)
        return {**settings, "file": places.index(_place(value))}

    names = {"forget", "after", "retain", "padding"}
    settings = config.model_dump(mode="json", exclude_defaults=True, exclude=names)
    named = {name: known(getattr(config, name)) for name in names - {"after"}}
    settings |= {**named, "after": [known(each) for each in config.after], "hashes": hashes}
    if continual is None:
        return settings
    return {**settings, "requests": [known(each) for each in requests], "reference": continual.reference}


def _place(file: FileConfig) -> tuple[str | None, ...]:
    return str(Path(file.path).expanduser()), file.subset, file.split, file.revision


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
