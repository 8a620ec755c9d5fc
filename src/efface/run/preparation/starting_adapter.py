"""The LoRA adapter that a run goes on training, beside the model that an earlier run saved."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from efface.artifacts import AdapterOrigin
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.files.sums import check_file
from efface.models.folder import model_folder, model_sha256
from efface.models.lora import ADAPTER_SETTINGS, ADAPTER_WEIGHTS
from efface.models.open import OpenedModel
from efface.train.config import LoRAConfig


@dataclass(frozen=True)
class StartingAdapter:
    """A saved adapter, and the model that it is for."""

    folder: Path
    base: Path
    """Folder of that model on this machine."""
    origin: AdapterOrigin
    """What the adapter of the run will be for."""


def find_adapter(model: str, lora: LoRAConfig | None) -> StartingAdapter | None:
    """The adapter that a run with `train.lora.adapter=keep` goes on training.

    Args:
        model: The run's model: the folder `model` of an earlier run, which has its adapter merged.
        lora: The run's adapters.

    Returns:
        The adapter in the folder `adapter` beside it; None where a new one, or none, is trained.

    Raises:
        EffaceError: There is none, it is not what its run wrote, it has other sizes, or the model that it is for is not
            available.
    """
    if lora is None or lora.adapter == "new":
        return None
    folder = RunPaths(Path(model).absolute().parent).adapter
    if not (folder / ADAPTER_WEIGHTS).is_file() or not (folder / ADAPTER_SETTINGS).is_file():
        raise EffaceError(
            f"train.lora.adapter=keep: there is no adapter in {folder}; give the model of a run with train.lora as "
            "model=RUN/model, or set train.lora.adapter=new"
        )
    for name in (ADAPTER_WEIGHTS, ADAPTER_SETTINGS):
        check_file(folder / name)
    base = _base(folder, lora)
    source = model_folder(base)
    with (folder / ADAPTER_WEIGHTS).open("rb") as file:
        continues = hashlib.file_digest(file, "sha256").hexdigest()
    origin = AdapterOrigin(base=base, base_sha256=model_sha256(source), continues=continues)
    return StartingAdapter(folder=folder, base=source, origin=origin)


def adapter_origin(
    name: str, opened: OpenedModel, lora: LoRAConfig | None, start: StartingAdapter | None = None
) -> AdapterOrigin | None:
    """What the adapter that a training saves is for, as the manifest says it.

    Args:
        name: The model, as given by the user.
        opened: The same model.
        lora: The adapters of the training.
        start: The adapter that it goes on with.

    Returns:
        Its base and what it includes; None where no adapter is trained.
    """
    if start is not None or lora is None:
        return None if start is None else start.origin
    return AdapterOrigin(base=name, base_sha256=opened.sha256, continues=None)


def _base(folder: Path, lora: LoRAConfig) -> str:
    """The model that an adapter is for, as its run named it; refuses an adapter of other sizes."""
    file = folder / ADAPTER_SETTINGS
    try:
        settings = json.loads(file.read_bytes())
        sizes = {"r": int(settings["r"]), "alpha": int(settings["lora_alpha"])}
        name, revision = str(settings["base_model_name_or_path"]), settings.get("revision")
    except (ValueError, TypeError, KeyError) as error:
        raise EffaceError(f"{file} is damaged; copy the run again, or set train.lora.adapter=new") from error
    for size, value in sizes.items():
        if value != getattr(lora, size):
            raise EffaceError(
                f"train.lora.adapter=keep: the adapter in {folder} has {size} {value}, and train.lora.{size} is "
                f"{getattr(lora, size)}; set it to {value}"
            )
    return f"{name}@{revision}" if revision else name
