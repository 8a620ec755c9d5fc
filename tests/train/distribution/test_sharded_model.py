"""What is sharded together; with real shards in tests/models/test_load_parallel.py."""

from __future__ import annotations

import pytest

from efface.train.distribution.sharded_model import decoder_layers, meta_copy, shard_units
from support.tiny import llama


@pytest.mark.parametrize("tied", [False, True])
def test_embeddings_are_gathered_on_their_own_unless_the_head_shares_them(tied):
    model = llama(tied=tied)
    layers = list(model.model.layers)
    assert decoder_layers(model) == layers
    assert shard_units(model) == layers + ([] if tied else [model.model.embed_tokens])


@pytest.mark.parametrize("tied", [False, True])
def test_a_copy_without_memory_for_its_weights(tied):
    model = llama(tied=tied)
    copy = meta_copy(model)
    assert [(name, each.shape) for name, each in copy.named_parameters()] == [
        (name, each.shape) for name, each in model.named_parameters()
    ]
    assert all(each.is_meta for each in copy.parameters())
    assert not any(each.is_meta for each in model.parameters())
    assert (copy.lm_head.weight is copy.model.embed_tokens.weight) == tied
