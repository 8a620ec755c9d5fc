"""The usual sentence encoder, a BERT whose token vectors are averaged, without importing sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efface.evaluation.judging.judge_dtype import judge_dtype

_MODULES = (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize"))


@dataclass(frozen=True)
class EncoderLayout:
    """What a folder of sentence-transformers says about such an encoder."""

    max_tokens: int | None
    """Longer texts are truncated; None for the tokenizer's and the model's own limit."""
    normalize: bool
    """Whether vectors are scaled to unit length."""


def read_layout(folder: Path) -> EncoderLayout | None:
    """Find out whether `MeanPoolingEncoder` computes what sentence-transformers would.

    Args:
        folder: Folder of a model.

    Returns:
        Its layout; None for a model of any other type, or whose files have anything that is not known here.
    """
    try:
        modules = json.loads((folder / "modules.json").read_bytes())
        names = tuple(module["type"].rpartition(".")[2] for module in modules)
        if names not in _MODULES or modules[0]["path"] != "":
            return None
        settings = json.loads((folder / "sentence_bert_config.json").read_bytes())
        pooling = json.loads((folder / modules[1]["path"] / "config.json").read_bytes())
        model_type = json.loads((folder / "config.json").read_bytes())["model_type"]
        prompts = folder / "config_sentence_transformers.json"
        prompt = json.loads(prompts.read_bytes()).get("default_prompt_name") if prompts.is_file() else None
        modes = [name for name, value in pooling.items() if name.startswith("pooling_mode") and value]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    known = settings.keys() <= {"max_seq_length", "do_lower_case"} and not settings.get("do_lower_case")
    if model_type != "bert" or modes != ["pooling_mode_mean_tokens"] or prompt is not None or not known:
        return None
    return EncoderLayout(settings.get("max_seq_length"), normalize="Normalize" in names)


class MeanPoolingEncoder:
    """Encodes texts with the numbers of sentence-transformers, bit for bit: its batches, padding and arithmetic."""

    def __init__(self, folder: Path, layout: EncoderLayout, device: torch.device | str) -> None:
        """Load the model.

        Args:
            folder: Folder of its files.
            layout: From `read_layout`.
            device: Where it runs.
        """
        from transformers import AutoModel, AutoTokenizer

        local_only = {"local_files_only": True, "trust_remote_code": False}
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **local_only)
        self._model = AutoModel.from_pretrained(folder, **local_only, use_safetensors=True, dtype=judge_dtype(device))
        self._model.to(device).eval()
        self._max_tokens = layout.max_tokens or min(
            self._tokenizer.model_max_length, self._model.config.max_position_embeddings
        )
        self._normalize = layout.normalize

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, batch_size: int, **_: Any) -> Tensor:
        """Encode texts, the longest first.

        Args:
            texts: At least one.
            batch_size: Most texts in one forward pass.

        Returns:
            Vectors [N, D] in float32 on the device of the model.
        """
        import numpy as np

        order = np.argsort([-len(text) for text in texts]).tolist()  # not stable, as in sentence-transformers
        vectors: dict[int, Tensor] = {}
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            vectors.update(zip(batch, self._encode_batch([texts[index] for index in batch]), strict=True))
        return torch.stack([vectors[index] for index in range(len(texts))])

    def _encode_batch(self, texts: list[str]) -> Tensor:
        inputs = self._tokenizer(
            texts, padding=True, truncation="longest_first", max_length=self._max_tokens, return_tensors="pt"
        ).to(self._model.device)
        states_BTD = self._model(**inputs).last_hidden_state.float()
        mask_BT1 = inputs["attention_mask"].unsqueeze(-1).to(states_BTD.dtype)
        mean_BD: Tensor = (states_BTD * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean_BD, dim=-1) if self._normalize else mean_BD
