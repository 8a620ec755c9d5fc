"""Rank all models in some folders, in boards of comparable models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from efface.errors import EffaceError
from efface.files.sums import ChangedFileError
from efface.frozen import FrozenModel
from efface.scores.definitions import Definition
from efface.scores.definitions import definition as find_definition
from efface.scores.leaderboard.bootstrap import DRAWS, LEVEL
from efface.scores.leaderboard.differences import Difference, differences
from efface.scores.leaderboard.discover import (
    Source,
    UnreadableSource,
    before_source,
    find_sources,
    read_source,
    with_before_sources,
)
from efface.scores.leaderboard.question_scores import incomparable_reason
from efface.scores.leaderboard.ranking import Board, ScoredModel, board


class Leaderboard(FrozenModel):
    """The result of `efface leaderboard`."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    level: float = LEVEL
    """Of all intervals."""
    draws: int
    seed: int
    boards: list[Board]
    """The one with the most models first."""
    unread: list[UnreadableSource]


class Differences(FrozenModel):
    """The result of `efface leaderboard --differences`."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    definition: str
    first: str
    second: str
    questions: list[Difference]
    """The largest change first."""


def leaderboard(
    paths: Sequence[Path], *, definition: str = "closer-look", draws: int = DRAWS, seed: int = 0
) -> Leaderboard:
    """Score and rank every run, the model that it started from, and every evaluation and eval log.

    Args:
        paths: Folders to search, runs or eval logs.
        definition: Name of the score definition.
        draws: Number of bootstrap resamples for the confidence intervals.
        seed: Seed of the resamples.

    Returns:
        Boards of comparable models, and what could not be read.

    Raises:
        EffaceError: When the definition is unknown, a path does not exist, or nothing can be scored.
    """
    score_definition = find_definition(definition)
    models, unread = _read_all(paths, score_definition)
    groups = sorted(_groups(models), key=lambda group: -len(group))
    boards = [
        board(
            group,
            score_definition,
            draws=draws,
            seed=seed,
            not_comparable_reason=_not_comparable_reason(group[0], groups[0]) if index else None,
        )
        for index, group in enumerate(groups)
    ]
    return Leaderboard(draws=draws, seed=seed, boards=boards, unread=unread)


def compare(paths: Sequence[Path], *, definition: str = "closer-look") -> Differences:
    """Compare two models question by question; of a single run, the models before and after unlearning.

    Args:
        paths: Two models, or one run.
        definition: Name of the score definition.

    Returns:
        Every question with both outputs, the largest change first.

    Raises:
        EffaceError: When `paths` contain neither, or the two models are not comparable.
    """
    score_definition = find_definition(definition)
    sources: list[Source] = []
    for each in find_sources(paths):
        if isinstance(each, UnreadableSource):
            raise EffaceError(f"{each.path} cannot be compared: {each.reason}")
        sources.append(each)
    if len(sources) == 1:
        sources = [before_source(sources[0]), sources[0]]
    if len(sources) != 2:
        raise EffaceError(
            f"differences are computed between two models, and there are {len(sources)}; give two runs or logs, or "
            "one run"
        )
    first, second = (read_source(source, score_definition) for source in sources)
    return Differences(
        definition=score_definition.name,
        first=first.name,
        second=second.name,
        questions=differences(first.sets, second.sets, score_definition),
    )


def _read_all(paths: Sequence[Path], score_definition: Definition) -> tuple[list[ScoredModel], list[UnreadableSource]]:
    models: list[ScoredModel] = []
    unread: list[UnreadableSource] = []
    for source in with_before_sources(find_sources(paths)):
        if isinstance(source, UnreadableSource):
            unread.append(source)
            continue
        try:
            models.append(read_source(source, score_definition))
        except ChangedFileError:
            raise
        except EffaceError as error:
            unread.append(UnreadableSource(path=str(source.path), reason=_without_path(error, str(source.path))))
    if not models:
        where = ", ".join(map(str, paths))
        why = f" ({unread[0].path}: {unread[0].reason})" if unread else ""
        raise EffaceError(
            f"{where}: there is no run, evaluation or eval log that can be scored{why}; make one with efface run, or "
            "give another folder"
        )
    return models, unread


def _without_path(error: EffaceError, path: str) -> str:
    """The message of an error, without the path at its start, which is shown before it."""
    message = str(error)
    return message.removeprefix(path).lstrip("/: ") if message.startswith(path) else message


def _groups(models: Sequence[ScoredModel]) -> list[list[ScoredModel]]:
    """Each model in the first group with all of which it is comparable."""
    groups: list[list[ScoredModel]] = []
    for model in models:
        for group in groups:
            if all(incomparable_reason(model.sets, other.sets) is None for other in group):
                group.append(model)
                break
        else:
            groups.append([model])
    return groups


def _not_comparable_reason(model: ScoredModel, group: Sequence[ScoredModel]) -> str | None:
    """Why a model is not in a group."""
    reasons = ((incomparable_reason(model.sets, other.sets), other.name) for other in group)
    return next((f"{model.name} {reason}, as {name}" for reason, name in reasons if reason), None)
