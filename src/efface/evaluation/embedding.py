"""Sentence embeddings, for the cosine similarity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

_BATCH = 64


class Embedder:
    """A sentence-transformers model that embeds each text once, however often it is asked."""

    def __init__(self, name: str, folder: Path, device: torch.device | str) -> None:
        """Load the model in `folder`; `name` is how records call it."""
        from sentence_transformers import SentenceTransformer

        self.name = name
        self._model = SentenceTransformer(
            str(folder),
            device=str(device),
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
        # The right answers come back with every evaluation of a run, and so do the outputs before unlearning.
        self._known: dict[str, Tensor] = {}

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [N, D] of `texts`, which is not empty, on the CPU in float64."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            vectors = self._model.encode(new, batch_size=_BATCH, convert_to_tensor=True, show_progress_bar=False)
            unit = torch.nn.functional.normalize(vectors.cpu().double(), dim=-1)
            self._known.update(zip(new, unit, strict=True))
        return torch.stack([self._known[text] for text in texts])

    def cosines(self, texts: Sequence[str], others: Sequence[str]) -> list[float]:
        """Cosine, in [-1, 1], of each text with its partner in `others`, which is as long and not empty."""
        cosines_N = (self.embed(texts) * self.embed(others)).sum(dim=-1)
        return [float(cosine) for cosine in cosines_N.clamp(-1, 1)]
