"""How much of the published ME and KL of a padded row is its padding, and how far our averages are from them.

    python benchmarks/padding_share.py path/to/model path/to/benchmarks

One TOFU question and answer as a row of 500 tokens, in float32 on a CPU. For KL, the model is compared with itself
before a little noise was added to its weights. `attends`: padding attends to the text, as with the masks of
transformers; `blind`: attention gives the padding zeros, as FlashAttention 2 does, which the published runs used.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

_LENGTH = 500


def main() -> None:
    """Print a line for each loss and kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--row", type=int, default=0, help="line of forget01.json, from 0")
    parser.add_argument("--noise", type=float, default=0.02, help="of each weight's standard deviation, for KL")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    row = json.loads((arguments.data / "tofu/forget01.json").read_text(encoding="utf-8").splitlines()[arguments.row])
    prompt = tokenizer(f"[INST] {row['question']} [/INST]").input_ids
    text = tokenizer(f"[INST] {row['question']} [/INST]{row['answer']}").input_ids
    ids = torch.tensor([text + [tokenizer.eos_token_id] * (_LENGTH - len(text))])
    mask = (torch.arange(_LENGTH) < len(text)).long()[None]
    print(f"{len(text)} tokens of text, {len(text) - len(prompt) + 1} of them answer and its end, padded to {_LENGTH}")

    def blind(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any) -> Any:
        output, weights = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output * mask[:, :, None, None], weights

    AttentionInterface.register("blind", blind)
    AttentionMaskInterface.register("blind", sdpa_mask)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    reference = copy.deepcopy(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * weight.std() * arguments.noise)
    for kernel in ("sdpa", "blind"):
        for each in (model, reference):
            each.set_attn_implementation(kernel)
        logits = model(input_ids=ids, attention_mask=mask).logits[0]
        with torch.no_grad():
            ref_logp = reference(input_ids=ids, attention_mask=mask).logits[0].log_softmax(-1)
        me = -(logits[:-1].softmax(-1) + 1e-12).log().mean(-1) - math.log(logits.shape[-1])
        plain = -logits[:-1].log_softmax(-1).mean(-1) - math.log(logits.shape[-1])
        kl = (ref_logp.exp() * (ref_logp - logits.log_softmax(-1))).sum(-1)
        n, answer = len(text), len(text) - len(prompt) + 1
        report(f"{kernel} ME", model, me.mean(), me[:n].sum() / (_LENGTH - 1), plain[:n].mean())
        start = len(prompt) - 1
        report(f"{kernel} KL", model, kl.mean(), kl[:n].sum() / _LENGTH, kl[start : start + answer].mean())


def report(name: str, model: Any, published: Tensor, text: Tensor, ours: Tensor) -> None:
    """Compare values and gradients of the published average, of its part from text, and of ours."""
    gradients = []
    for value in (published, text, ours):
        model.zero_grad()
        value.backward(retain_graph=True)
        gradients.append(torch.cat([weight.grad.double().flatten() for weight in model.parameters()]))
    whole, part, mine = gradients
    print(
        f"{name.replace('sdpa', 'attends')}: published {float(published):.4f}, of it text "
        f"{float(text / published):.1%}; gradient of the text {float(part.norm() / whole.norm()):.1%}; "
        f"ours {float(ours / published):.2f} times the value and {float(mine.norm() / whole.norm()):.2f} times the "
        "gradient, "
        f"cosine {float(whole @ mine / whole.norm() / mine.norm()):.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
