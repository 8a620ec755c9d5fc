"""The reference as numbers: log p(answer | question) of every sequence that training will see, computed once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efface.atomic import write_json
from efface.errors import EffaceError
from efface.packing.logprobs import answer_logprobs
from efface.text.formatter import TokenizedSequence


class CachedLogprobs:
    """Summed answer log-probs under the model before unlearning, kept by the content of each sequence."""

    def __init__(self, known: dict[str, float]) -> None:
        self._known = known

    @classmethod
    def compute(
        cls, model: Any, sequences: Sequence[TokenizedSequence], *, max_tokens_per_forward: int
    ) -> CachedLogprobs:
        """One packed pass over the distinct sequences; the model is not needed afterwards."""
        distinct = list({item.key: item for item in sequences}.values())
        logprobs = answer_logprobs(model, distinct, max_tokens_per_forward=max_tokens_per_forward)
        return cls({item.key: sum(values) for item, values in zip(distinct, logprobs, strict=True)})

    def __call__(self, sequences: Sequence[TokenizedSequence]) -> list[float]:
        """One number per sequence. Raises `KeyError` for a sequence that was not computed."""
        return [self._known[item.key] for item in sequences]

    def save(self, path: Path, *, made_by: Mapping[str, str]) -> None:
        """Write the numbers beside the checkpoints, with what made them: model, precision, versions."""
        write_json(path, {"made_by": dict(made_by), "logprobs": self._known})

    @classmethod
    def load(cls, path: Path, *, made_by: Mapping[str, str]) -> CachedLogprobs | None:
        """Read what `save` wrote; None where something else made it. Raises `EffaceError` for a damaged file."""
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            return cls(saved["logprobs"]) if saved["made_by"] == dict(made_by) else None
        except (ValueError, KeyError, TypeError) as error:
            raise EffaceError(f"{path} is damaged; remove it and go on with --resume") from error
