"""Rows padded to a fixed length whose padding is part of the loss, as in the published code of arXiv:2410.08109.

Elsewhere padding is only a way to compute several sequences at once, and no loss reads it. Here it is read: the model
gets the padding tokens as inputs, and losses over whole distributions sum over their positions, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from efface.errors import EffaceError
from efface.hardware.device import copy_to_device
from efface.packing.attention import ATTENTION_NAME
from efface.packing.forward import backbone_of, device_of, unwrap_peft
from efface.packing.layers import LayerPositions
from efface.packing.layout import PaddedRows
from efface.text.sequence import Positions, TokenizedSequence

StatePositions = Positions | Literal["row"] | LayerPositions
"""The hidden states that a loss reads: the last ones where tokens are predicted, `row` for all of a padded row, the
last one included; or those of a layer inside the model."""


class PaddedSequence(TokenizedSequence):
    """A sequence that is also read as a row of `row_length` tokens; its length stays that of prompt and answer."""

    __slots__ = ("pad_token", "padding_attends", "row_length", "text_length")

    def __init__(
        self, sequence: TokenizedSequence, *, row_length: int, pad_token: int, text_length: int, padding_attends: bool
    ) -> None:
        """Store the row.

        Args:
            sequence: Prompt and answer.
            row_length: L.
            pad_token: The end-of-sequence token.
            text_length: The number of tokens before the first end-of-sequence token. The attention mask is 1 for these
                only.
            padding_attends: As in `PaddedRows`.
        """
        super().__init__(sequence.id, sequence.prompt, sequence.answer, sequence.merged)
        self.row_length, self.pad_token = row_length, pad_token
        self.text_length, self.padding_attends = text_length, padding_attends

    @property
    def _content(self) -> tuple[object, ...]:
        return (*super()._content, self.row_length, self.pad_token, self.text_length, self.padding_attends)

    @property
    def row_key(self) -> str:
        """The key of the row: its hidden states are others than those of the sequence."""
        return f"{self.key}/{self.row_length}{'' if self.padding_attends else ' blind'}"

    @property
    def row(self) -> list[int]:
        """The token ids [L]: the text, then end-of-sequence tokens."""
        return [*self.ids, *[self.pad_token] * (self.row_length - len(self))]


def pad(
    sequence: TokenizedSequence, row_length: int, *, pad_token: int, end_token: int, padding_attends: bool = True
) -> PaddedSequence:
    """Give a sequence the length of its row.

    Args:
        sequence: Prompt and answer.
        row_length: L, in tokens.
        pad_token: The id that fills the row, that of the end of a sequence.
        end_token: The id that ends an answer; it is not text, and no position attends to it.
        padding_attends: As in `PaddedRows`.

    Raises:
        EffaceError: The sequence is longer than the row.
    """
    if len(sequence) > row_length:
        raise EffaceError(
            f"item {sequence.id!r}: question and answer take {len(sequence)} tokens, more than the {row_length} of a "
            "padded row; raise padded_length, or cut rows with train.max_row_length"
        )
    ends = sequence.answer[-1] == end_token
    return PaddedSequence(
        sequence,
        row_length=row_length,
        pad_token=pad_token,
        text_length=len(sequence) - ends,
        padding_attends=padding_attends,
    )


def input_length(sequence: TokenizedSequence) -> int:
    """Return how many tokens of a sequence the model reads in training: those of its row, if it has one."""
    return sequence.row_length if isinstance(sequence, PaddedSequence) else len(sequence)


def padded_hidden_states(model: Any, sequences: Sequence[TokenizedSequence]) -> Tensor:
    """Compute the last hidden states of all positions of the rows, padding included.

    Args:
        model: a causal language model inside `efface.packing.support.packed_or_padded(model)`.
        sequences: `PaddedSequence`s with rows of one length.

    Returns:
        Hidden states [B, L, H].

    Raises:
        EffaceError: The model's own attention cannot ignore padding as the rows ask.
    """
    rows = [sequence for sequence in sequences if isinstance(sequence, PaddedSequence)]
    assert len(rows) == len(sequences), "unlearning_examples pads what a padded term reads"
    device = device_of(model)
    input_ids = copy_to_device(torch.tensor([row.row for row in rows]), device)
    text_length_B1 = copy_to_device(torch.tensor([[row.text_length] for row in rows]), device)
    position_L = torch.arange(input_ids.shape[1], device=device)
    mask = (position_L < text_length_B1).to(input_ids.dtype)
    backbone = backbone_of(model)
    attends = rows[0].padding_attends
    if unwrap_peft(model).config._attn_implementation != ATTENTION_NAME:
        if not attends:
            raise EffaceError(
                f"{type(unwrap_peft(model)).__name__} cannot be packed, and its own attention cannot be made to give "
                "zeros for padding; leave train.padding_attention=none out"
            )
        output = backbone(input_ids=input_ids, attention_mask=mask, use_cache=False)
    else:
        # the attention in use has no mask of transformers, so it gets the rows' own
        positions = position_L.expand_as(input_ids)
        output = backbone(
            input_ids=input_ids, position_ids=positions, use_cache=False, packing=PaddedRows(mask, attends)
        )
    states: Tensor = output.last_hidden_state
    return states
