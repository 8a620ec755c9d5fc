"""Keys that identify a run by its settings and the content of everything that it is made of, never by names. No torch.

Settings that change results by rounding at most are left out: the device, how many tokens the model processes at once,
checkpoints and trackers. Keys are stored in runs.jsonl and in folder names, so renaming a setting or a class must not
change them: they are made of the names that settings had first.
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
from efface.renamed import original_settings
from efface.text.config import TemplateConfig

JobConfig = RunConfig | FinetuneConfig | EvaluationConfig

_JOB_TYPES: dict[type[JobConfig], str] = {
    RunConfig: "RunConfig",
    FinetuneConfig: "FinetuneConfig",
    EvaluationConfig: "EvaluationConfig",
}

_IDENTIFIED_BY_CONTENT: dict[str, Any] = {
    **dict.fromkeys(("model", "tokenizer", "reference", "plugins", "device", "private", "data"), True),
    "continual": {"requests", "keep_models"},
    "downstream": {"include"},
}
"""Settings that a key leaves out, as it has the hashes of their content, or because they do not change results."""
_WITHOUT_EFFECT: dict[str, tuple[str, ...]] = {
    "train": (
        "max_tokens_per_forward",
        "memory_gib",
        "gradient_checkpointing",
        "save_minutes",
        "save_steps",
        "kl_reference",
        "watch",
        "tracker",
    ),
    "evaluate": ("max_cache_tokens", "max_tokens_per_forward", "sharding"),
    "downstream": ("batch_size",),
}
"""Group of settings -> those of them that do not change results."""
_NEW_MEANINGS: dict[tuple[str, str], dict[str, str]] = {("me", "average"): {"padded": "padded, with its padding"}}
"""Group and setting -> a value that means something else than in early versions -> what keys have in its place, so that
a run with the earlier meaning is not found."""
_FILE_LOCATION = {"path", "subset", "split", "revision", "limits"}
_REFERENCE_NOTE = re.compile(r"compared with .* \(sha256 ([0-9a-f]{64})\)", re.DOTALL)
"""The note in a manifest that has the hash of a separate reference model."""


@dataclass(frozen=True)
class Contents:
    """Hashes of what a run is made of."""

    model: str
    data: Mapping[str, str]
    """As in `Task.sources`, in that order."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """As in a manifest: plug-in -> hash of its file."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """As in a manifest: file of downstream tasks -> hash."""
    reference: str | None = None
    """Of a separate reference model."""
    tokenizer: str | None = None
    """Of a tokenizer that is not from the model's folder."""
    efface: str = efface.__version__
    """The version of efface."""


def contents_of(manifest: Manifest) -> Contents:
    """Read the hashes of a job from its manifest."""
    references = [match[1] for note in manifest.notes if (match := _REFERENCE_NOTE.fullmatch(note))]
    return Contents(
        model=manifest.model_sha256,
        data=manifest.data,
        plugins=manifest.plugins,
        tasks=manifest.tasks,
        reference=references[0] if references else None,
        tokenizer=manifest.tokenizer_sha256,
        efface=manifest.efface,
    )


def run_key(config: JobConfig, contents: Contents) -> str:
    """Compute the key of a run, fine-tuning or evaluation.

    Args:
        config: Its settings.
        contents: The hashes of what it is made of.

    Returns:
        A SHA-256 in hexadecimal; jobs with equal keys have equal results.
    """
    return _digest(
        {
            "kind": _JOB_TYPES[type(config)],
            "settings": _decisive(config, _IDENTIFIED_BY_CONTENT),
            "data": _data(config.data, contents.data, _requests(config)),
            "plugins": sorted([spec.rpartition(":")[2], sha256] for spec, sha256 in contents.plugins.items()),
            "tasks": dict(contents.tasks),
            "model": contents.model,
            "reference": contents.reference,
            "efface": contents.efface,
            **_tokenizer(contents),
        }
    )


def before_key(config: RunConfig, contents: Contents) -> str:
    """Compute the key of the records before unlearning, which runs may share.

    Args:
        config: The settings of a run.
        contents: The hashes of what it is made of.

    Returns:
        A SHA-256 in hexadecimal.
    """
    evaluated = config.model_copy(update={"evaluate": without_epochs(config.evaluate)})
    return _digest(
        {
            "settings": _decisive(evaluated, _all_but("text", "evaluate")),
            "data": _data(config.data, contents.data, _requests(config)),
            "model": contents.model,
            "efface": contents.efface,
            **_tokenizer(contents),
        }
    )


def downstream_key(config: RunConfig, contents: Contents) -> str:
    """Compute the key of the scores on downstream tasks before unlearning, which runs may share.

    Args:
        config: The settings of a run.
        contents: The hashes of what it is made of.

    Returns:
        A SHA-256 in hexadecimal.
    """
    return _digest(
        {
            "settings": _decisive(config, {**_all_but("seed"), "downstream": _IDENTIFIED_BY_CONTENT["downstream"]}),
            "tasks": dict(contents.tasks),
            "model": contents.model,
            "efface": contents.efface,
            **_tokenizer(contents),
            **_template(config),
        }
    )


def without_epochs(evaluate: EvaluateConfig) -> EvaluateConfig:
    """Reset the settings that concern epochs, for the evaluation of a model that is not trained."""
    return evaluate.model_copy(update={"every": None, "select_epoch": "last"})


def short_key(key: str) -> str:
    """Shorten a key for the name of a folder."""
    return key[:12]


def _all_but(*names: str) -> dict[str, Any]:
    return {name: True for name in RunConfig.model_fields if name not in names}


def _decisive(config: JobConfig, excluded: dict[str, Any]) -> dict[str, Any]:
    """The settings that change results, where they differ from the defaults, so that new settings keep old keys."""
    reset = {
        group: part.model_copy(update={name: type(part).model_fields[name].default for name in names})
        for group, names in _WITHOUT_EFFECT.items()
        if isinstance(part := getattr(config, group, None), BaseModel)
    }
    if isinstance(config, RunConfig) and config.continual is not None and config.train.lora is None:
        reset["continual"] = config.continual.model_copy(update={"lora": "merge"})  # without adapters: no effect
    settings = config.model_copy(update=reset).model_dump(mode="json", exclude_defaults=True, exclude=excluded)
    for (group, name), values in _NEW_MEANINGS.items():
        if group in settings and (value := settings[group].get(name)) in values:
            settings[group][name] = values[value]
    return original_settings(settings)


def _tokenizer(contents: Contents) -> dict[str, str]:
    """Part of a key only where a tokenizer is named, so that other keys stay."""
    return {} if contents.tokenizer is None else {"tokenizer": contents.tokenizer}


def _template(config: RunConfig) -> dict[str, Any]:
    """What the chat template of downstream tasks shows, where it is used and not the default."""
    if config.downstream is None or not config.downstream.chat_template:
        return {}
    shown = config.text.model_dump(mode="json", exclude_defaults=True, include=set(TemplateConfig.model_fields))
    return {"template": shown} if shown else {}


def _requests(config: JobConfig) -> tuple[ForgetRequest, ...]:
    """The requests of a queue; none for a single request."""
    queue = getattr(config, "continual", None)
    return queue.requests if queue else ()


def _data(config: DataConfig, sources: Mapping[str, str], requests: Sequence[ForgetRequest]) -> dict[str, Any]:
    """The settings of the data, in which files are replaced by their index, and the hashes of the files."""
    later = {name: value for name in ("few_shot", "holdout") if (value := getattr(config, name)) is not None}
    values = (config.forget, *config.forgotten_before, config.retain, config.extra_retain, *requests, *later.values())
    locations = list(dict.fromkeys(_location(each) for each in values if isinstance(each, FileConfig)))
    hashes = list(sources.values())
    if config.retain == MODEL_ANSWERS:  # whose hash comes last, is known only after a run, and follows from the others
        hashes = hashes[: len(locations) + (config.refusals is not None)]
        later |= {"known_facts": config.known_facts} if config.known_facts else {}  # of earlier versions there are none

    def indexed(value: Any) -> Any:
        if not isinstance(value, FileConfig):
            return value
        settings = value.model_dump(mode="json", exclude_defaults=True, exclude=_FILE_LOCATION)
        return {**settings, "file": locations.index(_location(value))}

    names = {"forget", "retain", "extra_retain"}
    excluded = {*names, "forgotten_before", "refusals", "few_shot", "holdout", "known_facts"}
    settings = config.model_dump(mode="json", exclude_defaults=True, exclude=excluded)
    if config.refusals is not None:
        settings["refusals"] = "in a file"
    single = {name: indexed(getattr(config, name)) for name in names}
    single |= {name: indexed(value) for name, value in later.items()}  # left out where None, so that old keys stay
    lists = {"forgotten_before": list(map(indexed, config.forgotten_before)), "requests": list(map(indexed, requests))}
    return {**original_settings({**settings, **single, **lists}, "data."), "hashes": hashes}


def _location(file: FileConfig) -> tuple[str | None, ...]:
    return str(Path(file.path).expanduser()), file.subset, file.split, file.revision


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
