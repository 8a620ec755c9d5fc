"""Sentence embeddings, for the cosine similarity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efface.evaluation.judging.mean_pooling import MeanPoolingEncoder, read_layout

_BATCH_SIZE = 64


class Embedder:
    """A sentence-transformers model that embeds each text once and caches its vector."""

    def __init__(self, name: str, folder: Path, device: torch.device | str) -> None:
        """Load the model.

        Args:
            name: Name of the model in records.
            folder: Folder of its files.
            device: Where it runs.
        """
        self.name = name
        self._model = _open_encoder(folder, device)
        # every evaluation of a run embeds the same reference answers, and often the outputs before unlearning
        self._cache: dict[str, Tensor] = {}

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embed texts.

        Args:
            texts: At least one.

        Returns:
            Unit vectors [N, D] in float64 on the CPU.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._cache]
        if new:
            vectors = self._model.encode(new, batch_size=_BATCH_SIZE, convert_to_tensor=True, show_progress_bar=False)
            unit = torch.nn.functional.normalize(vectors.cpu().double(), dim=-1)
            self._cache.update(zip(new, unit, strict=True))
        return torch.stack([self._cache[text] for text in texts])

    def cosines(self, texts: Sequence[str], others: Sequence[str]) -> list[float]:
        """Compare texts pairwise.

        Args:
            texts: At least one.
            others: As many; the i-th is compared with the i-th of `texts`.

        Returns:
            The cosine of each pair, in [-1, 1].
        """
        cosines_N = (self.embed(texts) * self.embed(others)).sum(dim=-1)
        return [float(cosine) for cosine in cosines_N.clamp(-1, 1)]


def _open_encoder(folder: Path, device: torch.device | str) -> Any:
    layout = read_layout(folder)
    if layout is not None:
        return MeanPoolingEncoder(folder, layout, device)
    from sentence_transformers import SentenceTransformer  # imports scikit-learn, pandas and datasets: 4 s of a core

    return SentenceTransformer(
        str(folder),
        device=str(device),
        local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": torch.float32},
    )
