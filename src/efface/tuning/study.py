"""The search itself: Optuna's TPE with constraints, whose journal several processes share. No torch.

The journal is a file of JSON lines, read by `json` alone. Optuna unpickles snapshots of a journal only from backends
that have them, which files are not.
"""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from efface.artifacts.tune import TuneCandidate, TuneTrial
from efface.errors import EffaceError, install_hint, summarize_error
from efface.files.folder_lock import lock_folder, lock_output
from efface.files.folders import RunPaths, TunePaths
from efface.files.permissions import settle
from efface.files.safe_read import parse_json, read_json, read_lines

if TYPE_CHECKING:
    import optuna

_NAME = "tune"
_MAX_BYTES = 1 << 28
"""Of a journal: thousands of trials have a hundredth of it."""
_CANDIDATES, _STATE, _SECONDS, _VIOLATION, _FULL = "candidates", "state", "seconds", "violation", "full"
"""What a trial in the journal has besides Optuna's own values."""


def check_optuna() -> None:
    """Refuse early where Optuna is not installed.

    Raises:
        EffaceError: It is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise EffaceError(f"efface tune needs Optuna; {install_hint('tune')}") from error


def best_candidate(candidates: Sequence[TuneCandidate], keep: float) -> TuneCandidate | None:
    """The best candidate, the first of equals; None where there is none.

    Args:
        candidates: Of one trial, by epoch.
        keep: The bound.
    """
    return max(candidates, key=lambda each: each.score(keep), default=None)


@dataclass(frozen=True)
class StudyTrial:
    """A trial that this process works on."""

    trial: optuna.Trial
    keep: float

    @property
    def number(self) -> int:
        """Counted from 1."""
        return _number(self.trial)

    def add(self, candidates: Sequence[TuneCandidate]) -> bool:
        """Store the candidates so far; returns whether the pruner would stop the trial."""
        with _quiet():
            self.trial.set_user_attr(_CANDIDATES, [each.model_dump() for each in candidates])
            self.trial.report(candidates[-1].score(self.keep), candidates[-1].epoch)
            return self.trial.should_prune()


class Study:
    """The study in the journal of a folder, which other processes may extend at the same time."""

    def __init__(self, paths: TunePaths, *, keep: float, seed: int) -> None:
        """Open the study, or begin it.

        Args:
            paths: Of the search.
            keep: The bound.
            seed: Of the sampler; processes that join draw other values.

        Raises:
            EffaceError: The journal is damaged.
        """
        self._paths, self._keep = paths, keep
        with lock_folder(paths.search, wait=True), _quiet(), _explained(paths.study):
            existing = paths.study.is_file()
            if existing:
                with lock_output(paths.study, wait=True):
                    _repair(paths.study)
            self._study = _open(paths.study, seed)
            settle(paths.study)
            self._end_abandoned()

    def enqueue(self, points: Sequence[dict[str, Any]]) -> None:
        """Have these points tried first, unless they were before, or are about to be."""
        with lock_folder(self._paths.search, wait=True), _quiet():
            known = [each for each in self._frozen() if not _is_abandoned(each)]
            tried = [{**each.system_attrs.get("fixed_params", {}), **each.params} for each in known]
            for point in points:
                if not any(point.items() <= each.items() for each in tried):
                    self._study.enqueue_trial(point)

    @contextmanager
    def next_trial(self, *, most: float = math.inf) -> Iterator[StudyTrial | None]:
        """Begin a trial, whose folder is locked until it ends.

        Args:
            most: How many trials there may be, of all processes.

        Yields:
            The trial; what it has stored by the end of the block counts, also where the block raises. None where so
            many have ended or are under way.
        """
        with ExitStack() as stack:
            with lock_folder(self._paths.search, wait=True), _quiet():
                if self.begun() >= most:
                    yield None
                    return
                trial = self._study.ask()
                stack.enter_context(lock_folder(self._paths.trial(_number(trial))))
            yield StudyTrial(trial, self._keep)

    def finish(self, trial: StudyTrial, *, state: str, seconds: float) -> TuneTrial:
        """End a trial with what it has stored.

        Args:
            trial: The trial.
            state: `complete`, `pruned`, `stopped` or `failed`.
            seconds: That it took.
        """
        with _quiet():
            best = best_candidate(_candidates(trial.trial.user_attrs), self._keep)
            if best is not None:
                trial.trial.set_user_attr(_VIOLATION, self._keep - best.kept_at_least)
            trial.trial.set_user_attr(_SECONDS, round(seconds, 3))
            trial.trial.set_user_attr(_STATE, state)  # last: a trial that has it needs nothing more than `_tell`
            self._tell(trial.trial)
        return next(each for each in self.trials() if each.number == trial.number)

    def begun(self) -> int:
        """How many trials have ended or are under way."""
        return len([each for each in self._frozen() if each.state.name != "WAITING" and not _is_abandoned(each)])

    def trials(self) -> list[TuneTrial]:
        """The trials that have ended, by number.

        Raises:
            EffaceError: The journal is damaged.
        """
        return [self._describe(each) for each in self._frozen() if each.state.is_finished() and not _is_abandoned(each)]

    def _frozen(self) -> list[Any]:
        with _quiet(), _explained(self._paths.study):
            return self._study.get_trials(deepcopy=False)

    def _describe(self, frozen: Any) -> TuneTrial:
        with _explained(self._paths.study):
            candidates = _candidates(frozen.user_attrs)
            full = self._paths.full_scores(_number(frozen))
            return TuneTrial(
                number=_number(frozen),
                settings=frozen.params,
                state=frozen.user_attrs.get(_STATE, "failed"),
                candidates=len(candidates),
                best=best_candidate(candidates, self._keep),
                full=TuneCandidate.model_validate(read_json(full)) if full.is_file() else None,
                seconds=frozen.user_attrs.get(_SECONDS, 0.0),
            )

    def _tell(self, trial: Any) -> None:
        """End a trial in the journal."""
        from optuna.trial import TrialState

        best = best_candidate(_candidates(trial.user_attrs), self._keep)
        if best is None or _STATE not in trial.user_attrs:
            self._study.tell(trial.number, state=TrialState.FAIL)
        else:
            self._study.tell(trial.number, best.forget_efficacy)

    def _end_abandoned(self) -> None:
        """End the trials of processes that were killed: nobody holds their folders."""
        from optuna.trial import TrialState

        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            try:
                with lock_folder(self._paths.trial(_number(frozen))):
                    self._tell(frozen)
                    if _STATE not in frozen.user_attrs:
                        trial = self._paths.trial(_number(frozen))
                        for left in (self._paths.trial_weights(_number(frozen)), RunPaths(trial).checkpoints):
                            shutil.rmtree(left, ignore_errors=True)
            except EffaceError:
                continue  # another process works on it


def _number(trial: Any) -> int:
    """The number of a trial, counted from 1; Optuna's own in the journal is counted from 0."""
    return int(trial.number) + 1


def _is_abandoned(frozen: Any) -> bool:
    """Whether a trial ended because its process was killed."""
    return frozen.state.name == "FAIL" and _STATE not in frozen.user_attrs


def _candidates(attributes: Any) -> list[TuneCandidate]:
    return [TuneCandidate.model_validate(each) for each in attributes.get(_CANDIDATES, [])]


class _JournalLock:
    """A lock of the operating system. Those of Optuna are files that stay after a kill, for 30 seconds."""

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, ExitStack()

    def acquire(self) -> bool:
        """Wait for it."""
        self._held.enter_context(lock_output(self._path, wait=True))
        return True

    def release(self) -> None:
        """Leave it to others."""
        self._held.close()


def _open(path: Path, seed: int) -> optuna.Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    backend = JournalFileBackend(str(path), lock_obj=cast(Any, _JournalLock(path)))
    sampler = optuna.samplers.TPESampler(
        seed=seed + os.getpid() if path.stat().st_size else seed,
        multivariate=True,
        constant_liar=True,
        n_startup_trials=8,
        constraints_func=lambda trial: (trial.user_attrs.get(_VIOLATION, 1.0),),
    )
    return optuna.create_study(
        study_name=_NAME,
        storage=JournalStorage(backend),
        direction="maximize",
        load_if_exists=True,
        sampler=sampler,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=6, n_warmup_steps=2),
    )


def _repair(path: Path) -> None:
    """Check a journal before Optuna reads it; remove an incomplete last line, as after a kill.

    Raises:
        EffaceError: It is too large, no regular file, or a line is not a JSON object.
    """
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise EffaceError(f"{path} has {size} bytes, which no study has; start over in another --out")
    complete = 0
    for number, line in enumerate(read_lines(path), 1):
        if not line.endswith(b"\n"):
            os.truncate(path, complete)
            return
        complete += len(line)
        if not isinstance(parse_json(line), dict):
            raise ValueError(f"line {number} is not an object")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """An error of Optuna on what is in the journal, as a sentence."""
    try:
        yield
    except (EffaceError, KeyboardInterrupt):
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, AssertionError) as error:
        raise EffaceError(f"{path} is damaged ({summarize_error(error)}); start over in another --out") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own messages and its warnings about experimental arguments."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
