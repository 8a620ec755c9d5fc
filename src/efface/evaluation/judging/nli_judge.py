"""Judges of entailment between output and reference answer: their interface, and a judge that is an NLI model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

import torch

from efface.errors import EffaceError
from efface.evaluation.journal import Journal
from efface.evaluation.judging.text_classifier import load_text_classifier, read_labels

Label = Literal["entailment", "neutral", "contradiction"]
_BATCH_SIZE = 64
_JOURNALED = "labels"
"""The kind of these results in a journal."""


@dataclass(frozen=True)
class Claim:
    """One output and what it is judged against."""

    output: str
    target: str
    """The reference answer."""
    key_fact: str | None
    """The shortest string that every correct answer contains, where it is known."""
    premise: Literal["output", "answer"]
    """Which of the two must entail the other."""


@dataclass(frozen=True)
class EntailmentVerdict:
    """A label, or the reason why there is none."""

    label: Label | None
    reason: str | None = None


class Judge(Protocol):
    """Labels claims; `name` is recorded with each label."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def verdicts(
        self, claims: Sequence[Claim], journal: Journal | None = None, progress: Callable[[float], None] | None = None
    ) -> list[EntailmentVerdict]:
        """Label each claim, in the same order."""
        ...


class NliJudge:
    """A natural-language-inference model in a text-classification pipeline of transformers."""

    def __init__(self, name: str, folder: Path, device: torch.device | str) -> None:
        """Load the model.

        Args:
            name: Name of the model in records.
            folder: Folder of its files.
            device: Where it runs.

        Raises:
            EffaceError: When the model's labels are not those of NLI.
        """
        from transformers import pipeline

        self.name = name
        self._labels = _label_ids(name, read_labels(folder))
        classifier = load_text_classifier(folder, device)
        self._max_length = classifier.max_length
        self._pipeline = pipeline(
            "text-classification", model=classifier.model, tokenizer=classifier.tokenizer, device=device
        )

    def verdicts(
        self, claims: Sequence[Claim], journal: Journal | None = None, progress: Callable[[float], None] | None = None
    ) -> list[EntailmentVerdict]:
        """Label each claim.

        Args:
            claims: Pairs of texts; those that are too long for the model are truncated.
            journal: Has labels from before a kill, and gets those of each batch.
            progress: Called after each batch with the share of the claims that are done.

        Returns:
            A label for each claim, in the same order.
        """
        pairs = [_pair(claim) for claim in claims]
        by_length = sorted(range(len(pairs)), key=lambda index: -sum(map(len, pairs[index].values())))
        keys = [json.dumps(pair, sort_keys=True) for pair in pairs]
        labels: dict[str, Label] = {} if journal is None else dict(journal.known(_JOURNALED))
        for start in range(0, len(pairs), _BATCH_SIZE):
            batch = by_length[start : start + _BATCH_SIZE]
            if all(keys[index] in labels for index in batch):
                continue
            predictions = self._pipeline(
                [pairs[index] for index in batch],
                batch_size=_BATCH_SIZE,
                truncation=True,
                max_length=self._max_length,
            )
            made = {keys[at]: self._labels[each["label"]] for at, each in zip(batch, predictions, strict=True)}
            labels |= made
            if journal is not None:
                journal.add(_JOURNALED, made)
            if progress is not None:
                progress(min(1.0, (start + len(batch)) / len(pairs)))
        return [EntailmentVerdict(labels[key]) for key in keys]


def _pair(claim: Claim) -> dict[str, str]:
    if claim.premise == "output":
        return {"text": claim.output, "text_pair": claim.target}
    return {"text": claim.target, "text_pair": claim.output}


def _label_ids(name: str, id2label: dict[int, str]) -> dict[str, Label]:
    """Map the model's spelling of its labels to ours."""
    labels = {label: label.strip().lower() for label in id2label.values()}
    known = set(get_args(Label))
    if "entailment" not in labels.values() or not known.issuperset(labels.values()):
        raise EffaceError(
            f"the judge {name!r} labels texts as {', '.join(sorted(labels))}, not as {', '.join(sorted(known))}; "
            "set evaluate.judge to a model trained for natural-language inference"
        )
    return cast(dict[str, Label], labels)
