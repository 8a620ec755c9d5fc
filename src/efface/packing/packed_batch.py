"""Many sequences in one packed row, without padding and without attention between them.

A prefix that several sequences share is stored once: the answers to one question share its tokens, and all questions
share those of the chat template before them. A causal model gives a token the same hidden state whatever follows it.
Each sequence attends to all of its tokens, wherever in the row they are, and the gradient of a shared token is the sum
over the sequences that contain it. In training, dropout masks a shared token in the same way for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.hardware.device import copy_to_device
from efface.packing.layout import Layout
from efface.packing.prefix_trie import PrefixTrie
from efface.text.sequence import Positions, TokenizedSequence


@dataclass(frozen=True)
class TargetPositions:
    """The N positions of a packed row at which the head is applied, and the token that each should predict.

    Positions of several sequences that predict the same token after the same prefix are computed once:
    `logprobs[unique_index]` are the distinct ones, and `distinct[inverse_index]` expands them again.
    """

    token_index: Tensor
    """[N]: index into the packed row; the token there predicts the next one."""
    targets: Tensor
    """[N]: ids of the predicted tokens."""
    sequence_index: Tensor
    """[N]: the sequence of each position, numbered from 0 among the selected ones."""
    counts: list[int]
    """[B]: the number of positions of each sequence."""
    unique_index: Tensor
    """[U]: of the N positions, the first of each distinct (prefix, target)."""
    inverse_index: Tensor
    """[N]: the distinct position, an index into `unique_index`, that each position is equal to."""


@dataclass(frozen=True)
class PackedBatch:
    """Sequences packed into one row of T tokens, shared prefixes once: the input of one forward pass."""

    sequences: tuple[TokenizedSequence, ...]
    input_ids: Tensor
    """[1, T]"""
    position_ids: Tensor
    """[1, T], from 0 in each sequence."""
    token_indices: tuple[list[int], ...]
    """Indices into the packed row of the tokens of each sequence."""
    layout: Layout

    def target_positions(
        self, positions: Positions, sequences: Sequence[int] | None = None, *, own: bool = False
    ) -> TargetPositions:
        """Find where the head has to be applied to predict the tokens of some sequences.

        Args:
            positions: `answer` for the tokens of the answers, `all` for every token after the first.
            sequences: indices into `self.sequences`; all by default.
            own: find these tokens themselves instead, the first of `all` included; `targets` are then they.

        Returns:
            The positions of the selected sequences, one sequence after another.
        """
        selected = range(len(self.sequences)) if sequences is None else sequences
        predicted: list[int] = []
        token_index: list[int] = []
        counts = []
        for sequence in selected:
            indices = self.token_indices[sequence]
            first = self.sequences[sequence].prompt_length if positions == "answer" else 1 - own
            predicted += indices[first:]
            token_index += indices[first:] if own else indices[first - 1 : -1]
            counts.append(len(indices) - first)
        first_position: dict[int, int] = {}  # of each distinct token that is predicted
        for position, index in enumerate(predicted):
            first_position.setdefault(index, position)
        number = {index: distinct for distinct, index in enumerate(first_position)}
        device = self.input_ids.device
        return TargetPositions(
            token_index=copy_to_device(torch.tensor(token_index), device),
            targets=self.input_ids[0, copy_to_device(torch.tensor(predicted), device)],
            sequence_index=copy_to_device(torch.repeat_interleave(torch.tensor(counts)), device),
            counts=counts,
            unique_index=copy_to_device(torch.tensor(list(first_position.values())), device),
            inverse_index=copy_to_device(torch.tensor([number[index] for index in predicted]), device),
        )


def pack(sequences: Sequence[TokenizedSequence], device: torch.device | str = "cpu") -> PackedBatch:
    """Concatenate sequences in the given order, each without the prefix that it shares with an earlier one.

    Args:
        sequences: at least one, each with at least one token of prompt and one of answer.
        device: the device of the model's inputs.

    Raises:
        ValueError: there is no sequence, or one has an empty prompt or answer: a loss over it is undefined.
    """
    for item in sequences:
        if not item.prompt_length or not item.answer_length:
            raise ValueError(f"sequence {item.id!r} needs at least one token of prompt and one of answer")
    if not sequences:
        raise ValueError("there is no sequence to pack")
    prefixes = PrefixTrie()
    token_indices, new_token_counts = [], []
    positions: list[int] = []
    for item in sequences:
        known = len(prefixes)
        token_indices.append(prefixes.add(item.ids))
        new_token_counts.append(len(prefixes) - known)
        positions += range(len(item) - new_token_counts[-1], len(item))
    attending = [index for index, count in enumerate(new_token_counts) if count]
    return PackedBatch(
        sequences=tuple(sequences),
        input_ids=copy_to_device(torch.tensor([[token for _, token in prefixes.nodes]]), device),
        position_ids=copy_to_device(torch.tensor([positions]), device),
        token_indices=tuple(token_indices),
        layout=Layout(
            token_indices=tuple(token_indices[index] for index in attending),
            new_token_counts=tuple(new_token_counts[index] for index in attending),
            device=torch.device(device),
        ),
    )
