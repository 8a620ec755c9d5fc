"""The reference as numbers: log p(answer | question) of every sequence that training will see, computed once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from efface.artifacts import write_json
from efface.errors import EffaceError
from efface.text.likelihood import answer_logprobs
from efface.text.template import Encoded


class CachedLogprobs:
    """Summed answer log-probs under the model before unlearning, kept by the content of each sequence."""

    def __init__(self, known: dict[str, float]) -> None:
        self._known = known

    @classmethod
    def compute(cls, model: Any, sequences: Sequence[Encoded], *, token_budget: int) -> CachedLogprobs:
        """One packed pass over the distinct sequences; the model is not needed afterwards."""
        distinct = list({item.key: item for item in sequences}.values())
        logprobs = answer_logprobs(model, distinct, token_budget=token_budget)
        return cls({item.key: sum(values) for item, values in zip(distinct, logprobs, strict=True)})

    def __call__(self, sequences: Sequence[Encoded]) -> list[float]:
        """One number per sequence. Raises `KeyError` for a sequence that was not computed."""
        return [self._known[item.key] for item in sequences]

    def save(self, path: Path, *, model_sha256: str) -> None:
        """Write the numbers beside the checkpoints, with the hash of the model that made them."""
        write_json(path, {"model_sha256": model_sha256, "logprobs": self._known})

    @classmethod
    def load(cls, path: Path, *, model_sha256: str) -> CachedLogprobs:
        """Read what `save` wrote. Raises `EffaceError` if another model made it."""
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["model_sha256"] != model_sha256:
            raise EffaceError(f"{path} was made by another model than the one being unlearned; start a new run")
        return cls(saved["logprobs"])
