"""The norm of the gradient of one answer: small for a text that the model was trained on."""

from __future__ import annotations

from typing import Any

import torch

from efface.packing.forward import device_of, unwrap_peft
from efface.text.sequence import TokenizedSequence


def gradient_norm(model: Any, sequence: TokenizedSequence, *, counted: int, order: float = 2.0) -> float:
    """Mean over weight tensors of each one's norm of the gradient of the mean negative log-likelihood.

    As open-unlearning computes it (mia_gradnorm), but with dropout off. Tied weights count once.

    Args:
        model: A causal language model in evaluation mode; its gradients are removed.
        sequence: A prompt with its answer.
        counted: How many of the first tokens of the answer count.
        order: p of the norm; `inf` for the largest absolute value.

    Returns:
        A number >= 0.
    """
    inner = unwrap_peft(model)
    trainable = [each for each in inner.parameters() if each.is_floating_point()]
    required = [each.requires_grad for each in trainable]
    ids = torch.tensor([sequence.ids[: sequence.prompt_length + counted]], device=device_of(model))
    try:
        for each in trainable:
            each.requires_grad_(True)
            each.grad = None
        with torch.enable_grad():
            logits = inner(input_ids=ids, use_cache=False).logits[0, sequence.prompt_length - 1 : -1]
            logits = logits if logits.dtype == torch.float64 else logits.float()
            torch.nn.functional.cross_entropy(logits, ids[0, sequence.prompt_length :]).backward()
        norms = [torch.linalg.vector_norm(each.grad.float(), order) for each in trainable if each.grad is not None]
        return float(torch.stack(norms).mean())
    finally:
        for each, before in zip(trainable, required, strict=True):
            each.grad = None
            each.requires_grad_(before)
