"""What `keep` and `efface tune` add to results.json: the bound, the trials, and what was found. No torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from efface.frozen import FrozenModel


class KeepResult(FrozenModel):
    """What a run with `keep` did; shares are utility after over before, on questions that were looked at."""

    keep: float
    """The share that must be kept."""
    step: int
    """Of the model that was saved; 0 where no state was within the bound, and the model is that before unlearning."""
    stopped_after: int
    """The last step that was trained."""
    steps: int
    """Of the whole schedule."""
    reason: Literal["bound", "gone", "end"]
    """Why training ended: the next state was not within the bound, the forget set was forgotten, or it was complete."""
    kept: float
    """Of the model that was saved."""
    kept_at_least: float
    """The lower bound of that share on other questions."""


class TuneCandidate(FrozenModel):
    """The model of one trial after one epoch; shares are utility after over before."""

    epoch: int
    step: int
    kept: float
    """On the questions of the search."""
    kept_at_least: float
    """The lower bound of that share on other questions, which the bound of the search is compared with.

    Negative where few questions say little: candidates beyond the bound are compared by it, too.
    """
    utility: float
    forget_efficacy: float

    @property
    def promised(self) -> float:
        """`kept_at_least` for a reader: no share is below 0."""
        return max(0.0, self.kept_at_least)

    def score(self, keep: float) -> float:
        """One number to compare candidates by: the forget efficacy within the bound, else how far beyond it one is.

        Args:
            keep: The bound.

        Returns:
            From 0 to 1 within the bound; negative outside.
        """
        return self.forget_efficacy if self.kept_at_least >= keep else self.kept_at_least - keep


class TuneTrial(FrozenModel):
    """One training of a search, with the candidate that is nearest to the bound of the request."""

    number: int
    """Counted from 1; the number of a trial that was lost with its process is not given again."""
    settings: dict[str, Any]
    """Searched setting, by its dotted key -> value."""
    state: Literal["complete", "pruned", "stopped", "failed"]
    """How its training ended: by itself, given up as worse than others, out of time, or with an error."""
    candidates: int
    """How many epochs were scored."""
    best: TuneCandidate | None
    """None where none was scored."""
    full: TuneCandidate | None = None
    """The same model scored on all questions of the search, with the models that judge outputs; for the best ones."""
    seconds: float


class TuneSummary(FrozenModel):
    """What `efface tune` searched, and what it found."""

    keep: float
    """The bound: least share of the utility."""
    held: bool
    """Whether the chosen model is within the bound."""
    chosen: int
    """Number of the chosen trial."""
    kept: float
    """Share of the utility that the chosen model kept on the reported questions, which the search never looked at."""
    searched: dict[str, Any]
    """Searched setting -> its range or choices."""
    questions_searched: dict[str, int]
    """Evaluation set -> questions that the search looked at."""
    questions_reported: dict[str, int]
    forget_note: str
    """Which questions of the forget set are reported, and why: a sentence."""
    trials: list[TuneTrial]

    @property
    def begun(self) -> int:
        """How many were begun: those that ended, and those before them that another process lost or is making."""
        return max(each.number for each in self.trials)

    @model_validator(mode="after")
    def _check_chosen(self) -> TuneSummary:
        if not any(each.number == self.chosen and each.best is not None for each in self.trials):
            raise ValueError(f"trial {self.chosen} is not among the trials that were scored")
        return self
