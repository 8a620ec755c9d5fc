"""Padded rows go through the model with their padding, and give what the model itself gives for them."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from efface.errors import EffaceError
from efface.packing.forward import compute_logits
from efface.packing.padded_rows import PaddedSequence, input_length, pad, padded_hidden_states
from efface.packing.support import packed_or_padded, packing_unsupported_reason
from efface.text.sequence import TokenizedSequence
from support.sizes import DENSE

SEQUENCES = [
    TokenizedSequence("short", [5, 6], [7, 1]),
    TokenizedSequence("long", [8, 9, 10], [11, 12, 13, 14, 1]),
    TokenizedSequence("cut", [8, 9, 10], [11, 12, 13, 14, 15, 16, 17, 18, 19]),
]
ROWS = [pad(each, 12, pad_token=1, end_token=1) for each in SEQUENCES]
MODELS = {
    "llama": lambda: hf.LlamaConfig(vocab_size=97, **DENSE),
    "window": lambda: hf.MistralConfig(vocab_size=97, **DENSE, sliding_window=11),
    "softcap": lambda: hf.Gemma2Config(vocab_size=97, **DENSE, head_dim=8),
    "bloom": lambda: hf.BloomConfig(vocab_size=97, hidden_size=16, n_layer=2, n_head=2),
}


def test_a_row() -> None:
    assert [row.row for row in ROWS] == [
        [5, 6, 7, 1, *[1] * 8],
        [8, 9, 10, 11, 12, 13, 14, 1, *[1] * 4],
        [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
    ]
    assert [row.text_length for row in ROWS] == [3, 7, 12]  # the end of a sequence is not text
    assert [len(row) for row in ROWS] == [4, 8, 12]
    assert [input_length(each) for each in (ROWS[0], SEQUENCES[0])] == [12, 4]
    assert ROWS[0].key == SEQUENCES[0].key


def test_an_end_that_is_not_the_padding() -> None:
    row = pad(SEQUENCES[0], 6, pad_token=2, end_token=1)
    assert (row.row, row.text_length) == ([5, 6, 7, 1, 2, 2], 3)


def test_a_sequence_longer_than_its_row() -> None:
    with pytest.raises(EffaceError, match=r"item 'long': .* 8 tokens, more than the 7 .*raise padded_length.*max_row_"):
        pad(SEQUENCES[1], 7, pad_token=1, end_token=1)


def expected_logits(model: torch.nn.Module) -> torch.Tensor:
    """With transformers' own mask, which hides every end-of-sequence token."""
    ids = torch.tensor([row.row for row in ROWS])
    mask = torch.tensor([[1] * row.text_length + [0] * (12 - row.text_length) for row in ROWS])
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_the_model(name: str, random_model) -> None:
    model = random_model(MODELS[name]()).double()
    assert (packing_unsupported_reason(model) is None) == (name != "bloom")
    gradients, logits = [], []
    for padded in (True, False):
        model.zero_grad()
        with packed_or_padded(model):
            if padded:
                logits.append(compute_logits(model, padded_hidden_states(model, ROWS)))
        if not padded:
            logits.append(expected_logits(model))
        logits[-1].log_softmax(-1).mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*logits, rtol=1e-6, atol=1e-6)
    assert (gradients[0] - gradients[1]).norm() < 1e-6 * gradients[1].norm()


def test_gradient_checkpointing_recomputes_the_same_rows(llama) -> None:
    model, gradients = llama.double().train(), []
    for recomputed in (False, True):
        if recomputed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        with packed_or_padded(model):
            padded_hidden_states(model, ROWS).sin().sum().backward()
        gradients.append(model.model.layers[0].mlp.up_proj.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_text_does_not_see_the_padding(llama) -> None:
    """A longer row changes nothing at the positions of the text."""
    longer = [pad(each, 20, pad_token=1, end_token=1) for each in SEQUENCES]
    with torch.no_grad(), packed_or_padded(llama.double()):
        short, long = padded_hidden_states(llama, ROWS), padded_hidden_states(llama, longer)
    torch.testing.assert_close(short, long[:, :12], rtol=1e-6, atol=1e-6)
    assert isinstance(ROWS[0], PaddedSequence)


def test_padding_without_attention(llama) -> None:
    """As in FlashAttention 2, padding then depends on neither text nor position, and text is as before."""
    blind = [pad(each, 12, pad_token=1, end_token=1, padding_attends=False) for each in SEQUENCES]
    with torch.no_grad(), packed_or_padded(llama.double()):
        states, usual = padded_hidden_states(llama, blind), padded_hidden_states(llama, ROWS)
    padding, text = states[0, 3], [row.text_length for row in blind]
    for row, states_LH, usual_LH, length in zip(range(3), states, usual, text, strict=True):
        torch.testing.assert_close(states_LH[:length], usual_LH[:length], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(states_LH[length:], padding.expand_as(states_LH[length:]), rtol=1e-6, atol=1e-6)
        assert row == 2 or (usual_LH[length] - padding).norm() > 0.1 * padding.norm()
    assert blind[0].row_key != ROWS[0].row_key


def test_a_model_with_an_attention_of_its_own_has_no_choice(random_model) -> None:
    model = random_model(MODELS["bloom"]())
    blind = [pad(SEQUENCES[0], 12, pad_token=1, end_token=1, padding_attends=False)]
    with packed_or_padded(model), pytest.raises(EffaceError, match=r"Bloom.* leave train\.padding_attention=none out"):
        padded_hidden_states(model, blind)
