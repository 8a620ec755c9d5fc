"""The sizes of all measurements: those of the goals, and tiny ones to rehearse with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shapes import SHAPES, Shape

METHODS = ("idk+ap", "dpo+kl", "npo+gd", "me+gd", "ga+kl")
_EMBEDDER = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
_JUDGE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_TINY_ENCODER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    tiny: bool
    models: Mapping[str, Shape]
    """`135M`, `1B` and `7B`: the names of measurements, whatever the shape is."""
    items: int
    """Forget items of a measured step."""
    repeats: int
    padded_repeats: int
    """Of the padded baseline, whose steps take seconds."""
    forget_set: int
    """Forget items of a training: 40, 200 or 400."""
    batch_size: int
    epochs: int
    lora_gib: float
    """The memory of the card that LoRA has to fit on."""
    questions: int
    output_tokens: int
    """Tokens of every output of an evaluation: a model with random weights does not stop earlier."""
    decoded_rows: tuple[int, ...]
    """Batch sizes of the decoding sweep."""
    decoded_tokens: int
    copied_bytes: int
    """To measure the bandwidth of the memory."""
    matrix_sides: tuple[int, ...]
    """To measure the rate of matrix multiplications."""
    embedder: Mapping[str, int]
    judge: Mapping[str, int]
    quantized: tuple[int, int]
    """Shape of a weight matrix to quantize."""


REAL = Sizes(
    tiny=False,
    models={"135M": SHAPES["135m"], "1B": SHAPES["1b"], "7B": SHAPES["7b"]},
    items=32,
    repeats=5,
    padded_repeats=2,
    forget_set=400,
    batch_size=32,
    epochs=5,
    lora_gib=24.0,
    questions=400,
    output_tokens=150,
    decoded_rows=(1, 8, 32, 128, 400),
    decoded_tokens=64,
    copied_bytes=4 << 30,
    matrix_sides=(4096, 8192),
    embedder=_EMBEDDER,
    judge=_JUDGE,
    quantized=(11008, 4096),
)


def tiny_sizes() -> Sizes:
    """Sizes that take seconds on a CPU."""
    return Sizes(
        tiny=True,
        models=dict.fromkeys(REAL.models, SHAPES["tiny"]),
        items=2,
        repeats=1,
        padded_repeats=1,
        forget_set=40,
        batch_size=20,
        epochs=1,
        lora_gib=24.0,
        questions=4,
        output_tokens=4,
        decoded_rows=(1, 3),
        decoded_tokens=3,
        copied_bytes=1 << 16,
        matrix_sides=(64,),
        embedder=_TINY_ENCODER,
        judge=_TINY_ENCODER,
        quantized=(64, 128),
    )
