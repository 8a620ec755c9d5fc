"""Sentence embeddings, for the cosine similarity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efface.evaluation.judging.judge_dtype import judge_dtype
from efface.evaluation.judging.mean_pooling import MeanPoolingEncoder, read_layout

_BATCH_SIZE = 64
_MOST_KEPT = 3
"""Groups of texts: reference answers, outputs before unlearning, and the outputs that are compared with them."""


class Embedder:
    """A sentence-transformers model that keeps the vectors of what it compared with last.

    What a text shares its batch with decides the last digits of its vector. So what is embedded together follows from
    the texts alone, not from what was embedded earlier: a run that is resumed has the digits of one that never stopped.
    """

    def __init__(self, name: str, folder: Path, device: torch.device | str) -> None:
        """Load the model.

        Args:
            name: Name of the model in records.
            folder: Folder of its files.
            device: Where it runs.
        """
        self.name = name
        self._model = _open_encoder(folder, device)
        # the tokenizer of a BERT leaves out the spaces around a text, which many outputs start with
        self._strips = isinstance(self._model, MeanPoolingEncoder)
        # every evaluation of a run has the same reference answers, and the same outputs before unlearning
        self._known: dict[tuple[str, ...], Tensor] = {}

    def embed(self, *groups: Sequence[str]) -> list[Tensor]:
        """Embed groups of texts; one that was in an earlier group has the vector that it has there.

        Args:
            groups: At least one text each.

        Returns:
            For each group, unit vectors [N, D] in float64 on the CPU.
        """
        vectors: dict[str, Tensor] = {}
        if self._strips:
            groups = tuple([text.strip() for text in group] for group in groups)
        for group in groups:
            new = tuple(text for text in dict.fromkeys(group) if text not in vectors)
            if new:
                vectors.update(zip(new, self._embed_together(new), strict=True))
        return [torch.stack([vectors[text] for text in group]) for group in groups]

    def cosines(self, texts: Sequence[str], *others: Sequence[str]) -> list[list[float]]:
        """Compare texts pairwise with those of other groups.

        Args:
            texts: At least one.
            others: As many in each group; the i-th is compared with the i-th of `texts`.

        Returns:
            For each of `others`, the cosine of each pair, in [-1, 1].
        """
        *of_others, of_texts = self.embed(*others, texts)
        cosines = ((of_texts * each).sum(dim=-1).clamp(-1, 1) for each in of_others)
        return [cosines_N.tolist() for cosines_N in cosines]

    def _embed_together(self, texts: tuple[str, ...]) -> Tensor:
        """Unit vectors [N, D] of texts that share their batches; those of the last three calls are kept."""
        if (unit := self._known.pop(texts, None)) is None:
            vectors = self._model.encode(texts, batch_size=_BATCH_SIZE, convert_to_tensor=True, show_progress_bar=False)
            unit = torch.nn.functional.normalize(vectors.cpu().double(), dim=-1)
        self._known[texts] = unit
        if len(self._known) > _MOST_KEPT:
            del self._known[next(iter(self._known))]
        return unit


def _open_encoder(folder: Path, device: torch.device | str) -> Any:
    layout = read_layout(folder)
    if layout is not None:
        return MeanPoolingEncoder(folder, layout, device)
    from sentence_transformers import SentenceTransformer  # imports scikit-learn, pandas and datasets: 4 s of a core

    return SentenceTransformer(
        str(folder),
        device=str(device),
        local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": judge_dtype(device)},
    )
