"""The models of an audit: where they are, opened one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from efface.artifacts.saved_manifest import read_manifest
from efface.auditing.attack import ModelName
from efface.auditing.audited_run import AuditedRun, AuditedRunSettings
from efface.auditing.subject import Subject
from efface.config.saved_settings import read_saved_settings
from efface.errors import EffaceError
from efface.files.folders import MANIFEST, RunPaths
from efface.files.sums import check_folder
from efface.hub import UnavailableError, resolve_model
from efface.models.folder import combined_sha256, load_model_config, model_folder, model_sums
from efface.models.load import load_model
from efface.models.open import open_model
from efface.models.tokenizer import load_tokenizer, model_tokenizer
from efface.progress.reporter import Reporter
from efface.run.evaluation_stages import free_models

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ModelSource:
    """A model on disk, as an attack may open it."""

    name: ModelName
    folder: Path
    sha256: str
    tokenizer: str | None
    """As the setting `tokenizer`."""
    settings: AuditedRunSettings
    device: torch.device
    reporter: Reporter

    @contextmanager
    def opened(self) -> Iterator[Subject]:
        """Load the model for the block."""
        text = self.settings.text.model_copy(update={"max_length": None})  # a limit of training sequences only
        opened = open_model(
            str(self.folder),
            text,
            tokenizer=self.tokenizer,
            device=self.device,
            reporter=self.reporter,
            evaluate=self.settings.evaluate,
        )
        subject = Subject(self.name, opened.model, opened.formatter, self.settings.evaluate)
        del opened
        try:
            yield subject
        finally:
            del subject
            free_models()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Each weight by its name in `named_parameters`, one after another, on the CPU."""
        files = self._files()
        if files is None:
            yield from load_model(self.folder, dtype=torch.float32, device=torch.device("cpu")).named_parameters()
            return
        for name in files:
            yield name, self.tensor(name)

    def tensor(self, name: str) -> Tensor:
        """One weight, by its name in `named_parameters`, on the CPU.

        Raises:
            EffaceError: The model has no such weight in its files.
        """
        from safetensors import safe_open

        files = self._files() or {}
        if name not in files:
            raise EffaceError(f"model {self.folder} has no weight {name}; audit a model of the same architecture")
        with safe_open(files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    def _files(self) -> dict[str, Path] | None:
        """The file of each weight; None where the files have other names than the model's weights."""
        from safetensors import safe_open

        from efface.models.memory_estimate import meta_model

        files: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                files.update(dict.fromkeys(file.keys(), path))
        names = {name for name, _ in meta_model(load_model_config(self.folder), None).named_parameters()}
        return {name: files[name] for name in sorted(names)} if names <= files.keys() else None


@dataclass(frozen=True)
class AuditModels:
    """The models that are available."""

    sources: Mapping[ModelName, ModelSource]
    control_kind: Literal["given", "base"] | None
    control_name: str | None
    """As the user or the manifest names it."""
    left_out: dict[str, str]


def find_models(run: AuditedRun, against: Path | None, device: torch.device, reporter: Reporter) -> AuditModels:
    """Find the unlearned model, the one before and a control; none is loaded.

    Args:
        run: The audited run.
        against: A run or model that never knew the facts; None for the model that the target was fine-tuned from.
        device: Where models are loaded.
        reporter: Gets warnings.

    Raises:
        EffaceError: The unlearned model is not what the run wrote, or the control cannot be used.
    """
    sums = model_sums(run.folder.model)
    check_folder(run.folder.model, sums)
    after = ModelSource("after", run.folder.model, combined_sha256(sums), None, run.settings, device, reporter)
    sources: dict[ModelName, ModelSource] = {}
    left_out: dict[str, str] = {}
    try:
        sources["before"] = _before(run, device, reporter)
    except EffaceError as error:
        left_out["before"] = f"the model before unlearning is not available: {error}"
    control = _control(run, against, device, reporter)
    if control is None:
        left_out["control"] = "there is no model that never knew the facts (--against), so guesses are not subtracted"
    elif (problem := _why_no_control(run, control, after.sha256)) is not None:
        left_out["control"] = f"the base model {control.name} cannot be the control: {problem}"
        control = None
    else:
        sources["control"] = control.source
    sources["after"] = after
    kind, named = (None, None) if control is None else (control.kind, control.name)
    return AuditModels(sources, kind, named, left_out)


@dataclass(frozen=True)
class _Control:
    """A model that is meant to be the control."""

    kind: Literal["given", "base"]
    name: str
    """As the user or the manifest names it."""
    source: ModelSource


def _before(run: AuditedRun, device: torch.device, reporter: Reporter) -> ModelSource:
    folder = model_folder(run.settings.model)
    if (digest := combined_sha256(model_sums(folder))) != run.manifest.model_sha256:
        raise EffaceError(f"model {run.settings.model} has changed since the run")
    return ModelSource("before", folder, digest, run.settings.tokenizer, run.settings, device, reporter)


def _control(run: AuditedRun, against: Path | None, device: torch.device, reporter: Reporter) -> _Control | None:
    """The given control, or the model that the target was fine-tuned from."""
    kind: Literal["given", "base"] = "base" if against is None else "given"
    tokenizer = run.settings.tokenizer if against is None else None
    found = _base_model(run.settings.model) if against is None else (str(against), _given_control(against))
    if found is None:
        return None
    name, folder = found
    digest = combined_sha256(model_sums(folder))
    return _Control(kind, name, ModelSource("control", folder, digest, tokenizer, run.settings, device, reporter))


def _why_no_control(run: AuditedRun, control: _Control, after: str) -> str | None:
    """Why a base model cannot be the control; None if it can.

    Args:
        run: The audited run.
        control: The model.
        after: Digest of the unlearned model.

    Raises:
        EffaceError: The control was given and cannot be used.
    """
    ours, source = run.folder.model, control.source
    problem = _other_architecture(ours, source.folder) or _other_tokenizer(ours, source.folder, source.tokenizer)
    if control.kind == "base":
        return problem
    if problem is not None:
        raise EffaceError(f"--against {control.name}: {problem}; give a model trained from the same base")
    if source.sha256 in (run.manifest.model_sha256, after):
        raise EffaceError(f"--against {control.name} is a model of the audited run; give one that never knew the facts")
    return None


def _given_control(path: Path) -> Path:
    """The model's folder of `--against`: of a run, a fine-tuning, or a model."""
    if RunPaths(path).model.is_dir():
        folder = RunPaths(path).model
        check_folder(folder, model_sums(folder))
        return folder
    if (path / MANIFEST).is_file():
        raise EffaceError(f"--against {path} has no model; give a finished run, or the folder of a model")
    try:
        return model_folder(str(resolve_model(str(path))))
    except UnavailableError as error:
        raise EffaceError(f"--against: {error}; give the folder of a run, a fine-tuning or a model") from error
    except EffaceError as error:
        raise EffaceError(f"--against: {error}") from error


def _base_model(target: str) -> tuple[str, Path] | None:
    """The model that efface fine-tuned the target from, where the folders say so and it is here.

    Where the target was unlearned itself, as before a later request of a queue, that of the model before it: the model
    before knew the facts.
    """
    seen = set[Path]()
    while (folder := Path(target).expanduser().absolute().parent) not in seen and RunPaths(folder).manifest.is_file():
        seen.add(folder)
        try:
            target = read_manifest(folder).model
            if not _is_run(folder):
                return target, model_folder(target)
        except EffaceError:
            return None
    return None


def _is_run(folder: Path) -> bool:
    """Whether a model was unlearned in a folder, not fine-tuned."""
    config = RunPaths(folder).config
    return config.is_file() and "method" in read_saved_settings(config)


def _other_architecture(ours: Path, other: Path) -> str | None:
    """How the layers of a control differ from those of the audited model; None if they do not."""
    mine, theirs = (load_model_config(folder).get_text_config() for folder in (ours, other))
    names = ("model_type", "num_hidden_layers", "hidden_size")
    differing = [name for name in names if getattr(mine, name, None) != getattr(theirs, name, None)]
    listed = ", ".join(f"{name} {getattr(theirs, name, None)}, not {getattr(mine, name, None)}" for name in differing)
    return f"its architecture is another one ({listed})" if differing else None


def _other_tokenizer(ours: Path, other: Path, named: str | None) -> str | None:
    """How the tokenizer of a control differs from that of the audited model; None if it does not."""
    try:
        mine, theirs = load_tokenizer(ours), model_tokenizer(other, named).tokenizer
    except EffaceError as error:
        return str(error)
    if mine.get_vocab() != theirs.get_vocab():
        return f"its tokenizer has another vocabulary ({len(theirs):,} tokens, not {len(mine):,}, or other ones)"
    text = "Who wrote it, and in which year? — 1969, by É. Müller."
    return None if mine(text).input_ids == theirs(text).input_ids else "its tokenizer splits texts differently"
