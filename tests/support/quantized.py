"""Tiny models with weights that bitsandbytes quantizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from efface.models.load import load_model
from efface.models.quantization import quantization_config
from efface.train.config import LoRAConfig, Precision, TrainConfig

SIZES = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
STORED: dict[str, dict[str, Any]] = {
    "8 bits": {"load_in_8bit": True},
    "4 bits": {"load_in_4bit": True},
    "4 bits in bf16": {"load_in_4bit": True, "bnb_4bit_quant_storage": torch.bfloat16},
}
"""Ways in which bitsandbytes stores a model."""


def wide_llama(tokenizer_folder: Path, folder: Path) -> Path:
    """Save a tiny Llama in bf16 whose sizes are multiples of the blocks that are quantized together."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SIZES, initializer_range=0.1))
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    return folder


def quantized(folder: Path, bits: Literal[4, 8], precision: Precision = "float32") -> Any:
    """The model of a folder, quantized as a run does it."""
    device = torch.device("cpu")
    how = quantization_config(TrainConfig(lora=LoRAConfig(bits=bits), precision=precision), device)
    return load_model(folder, dtype=torch.float32, device=device, quantization=how)


def stored_quantized(source: Path, folder: Path, how: str) -> Path:
    """Save the model of `source` as bitsandbytes quantizes it (`STORED`), with its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    settings = BitsAndBytesConfig(**STORED[how])
    AutoModelForCausalLM.from_pretrained(source, quantization_config=settings).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder
