"""The reference model as numbers: log p(answer | question) of all sequences of a training, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.files.atomic import write_json
from efface.files.safe_read import parse_json
from efface.packing.logprobs import answer_logprobs
from efface.text.sequence import TokenizedSequence


class CachedLogprobs:
    """Summed answer log-probabilities under the reference model, by the content of each sequence."""

    def __init__(self, logprobs_by_key: dict[str, float]) -> None:
        self._logprobs_by_key = logprobs_by_key

    @classmethod
    def compute(
        cls, model: Any, sequences: Sequence[TokenizedSequence], *, max_tokens_per_forward: int
    ) -> CachedLogprobs:
        """Compute the log-probabilities of the distinct sequences; the model is not needed afterwards.

        Args:
            model: the reference model.
            sequences: all sequences that training will use, possibly with duplicates.
            max_tokens_per_forward: the most tokens of one forward pass.

        Raises:
            EffaceError: the memory of the GPU is too small for a single sequence.
        """
        distinct = list({item.key: item for item in sequences}.values())
        logprobs = answer_logprobs(model, distinct, max_tokens_per_forward=max_tokens_per_forward)
        return cls({item.key: sum(values) for item, values in zip(distinct, logprobs, strict=True)})

    def __call__(self, sequences: Sequence[TokenizedSequence]) -> list[float]:
        """Look up one number for each sequence, the natural-log probability of its answer.

        Raises:
            KeyError: a sequence was not computed.
        """
        return [self._logprobs_by_key[item.key] for item in sequences]

    def save(self, path: Path, *, made_by: Mapping[str, str]) -> None:
        """Write the numbers to a JSON file.

        Args:
            path: the file; its folder is created.
            made_by: what the numbers depend on: model, precision, versions.
        """
        write_json(path, {"made_by": dict(made_by), "logprobs": self._logprobs_by_key})

    @classmethod
    def load(cls, path: Path, *, made_by: Mapping[str, str]) -> CachedLogprobs | None:
        """Read what `save` wrote; None if it was saved with another `made_by`.

        Raises:
            EffaceError: the file is damaged.
        """
        try:
            saved = parse_json(path.read_bytes())
            return cls(saved["logprobs"]) if saved["made_by"] == dict(made_by) else None
        except (ValueError, KeyError, TypeError) as error:
            raise EffaceError(f"{path} is damaged; remove it and continue with --resume") from error
