"""A training step with other kernels beside the same step without, and Liger-Kernel's in Triton's interpreter."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import transformers as hf

from efface.models.lora import add_adapters
from efface.objectives.terms import Reference
from efface.train.config import LoRAConfig
from efface.train.kernels import replaced, replacements
from efface.train.step import batch_losses
from support.model_configs import varied_model
from support.sizes import DENSE
from support.tiny import VOCABULARY
from support.training import GA_GD, TRAIN, random_steps

LIGER = TRAIN.model_copy(update={"kernels": "liger"})
SIZES = DENSE | {"vocab_size": VOCABULARY, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
CONFIGS: dict[str, Any] = {
    "llama": lambda: hf.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "mistral": lambda: hf.MistralConfig(**SIZES),
    "qwen2": lambda: hf.Qwen2Config(**SIZES),
    "qwen3": lambda: hf.Qwen3Config(**SIZES, head_dim=8),
    "gemma2": lambda: hf.Gemma2Config(**SIZES, head_dim=8),
    "padded": lambda: hf.StableLmConfig(**SIZES),
}
OF_LIGER = ("llama", "mistral", "qwen2", "qwen3")


def built(name: str) -> Any:
    """A random model of this kind."""
    return varied_model(CONFIGS[name]())


def step(model: Any, items: Any = (), context: Any = None) -> dict[str, torch.Tensor]:
    """Losses and gradients of a step, computed with replaced attributes inside a context."""
    model.zero_grad()
    with context or nullcontext(), replaced(items):
        losses = batch_losses(
            model, GA_GD, random_steps(1, 2, *GA_GD.views)[0], Reference(), backward=torch.Tensor.backward
        )
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {"forget": losses.forget, "retain": losses.retain, **found}


def assert_close(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], *, tolerance: float) -> None:
    """Each tensor within a share of its largest value."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        difference = float((actual[name] - value).abs().max())
        assert difference <= tolerance * float(value.abs().max()), f"{name} differs by {difference:.2g}"


def interpret_liger() -> None:
    """Let Liger-Kernel compute on the CPU, in a process that was started with `TRITON_INTERPRET=1`.

    Triton's interpreter leaves a float that is passed to a kernel a Python number, which has no `to`, and has none of
    the functions of CUDA's libdevice.
    """
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    convert = interpreter._implicit_cvt

    def with_floats(argument: Any) -> Any:
        if type(argument) is not float:
            return convert(argument)
        handle = interpreter.TensorHandle(np.array([argument], dtype=np.float32), tl.float32)
        return tl.tensor(handle, tl.float32)

    interpreter._implicit_cvt = with_floats
    from liger_kernel.ops import rms_norm

    rms_norm.rsqrt = lambda x: tl.rsqrt(x)  # noqa: PLW0108 - the interpreter replaces `tl.rsqrt` while a kernel runs


def compare_architecture(name: str) -> None:
    """Losses and gradients in float32."""
    model = built(name)
    expected = step(model)
    actual = step(model, replacements(model, LIGER))
    assert any(not torch.equal(actual[each], value) for each, value in expected.items()), "the same kernels"
    assert_close(actual, expected, tolerance=1e-5)


def compare_ways() -> None:
    """Gradient checkpointing and adapters in float32; autocast and weights in half precision.

    In float16: the interpreter multiplies numbers in bf16 as if they were integers.
    """
    model = built("qwen3")
    expected, items = step(model), replacements(model, LIGER)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert_close(step(model, items), expected, tolerance=1e-5)
    model.gradient_checkpointing_disable()

    with torch.autocast("cpu", torch.float16):
        assert_as_far(step(model, items), step(model), expected)
    half = built("qwen3").half()
    assert_as_far(step(half, replacements(half, LIGER)), step(half), expected)

    adapted = add_adapters(model, LoRAConfig(r=2, dropout=0.0), seed=0)
    plain = step(adapted)
    assert_close(step(adapted, replacements(adapted, LIGER)), plain, tolerance=1e-5)


def assert_as_far(
    actual: dict[str, torch.Tensor], plain: dict[str, torch.Tensor], exact: dict[str, torch.Tensor]
) -> None:
    """Rounding must not take all values together further from the exact ones than it does without Liger."""
    ours, theirs = (
        float(torch.cat([(found[name] - value).flatten() for name, value in exact.items()]).norm())
        for found in (actual, plain)
    )
    assert 0 < ours < 1.2 * theirs, f"Liger's are {ours:.2g} from float32, and those of torch {theirs:.2g}"


if __name__ == "__main__":
    interpret_liger()
    for architecture in OF_LIGER:
        compare_architecture(architecture)
    compare_ways()
