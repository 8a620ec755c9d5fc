"""Shared prefixes are stored once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from efface.packing.prefix_trie import PrefixTrie

sequences = st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=8)


def test_nodes_are_numbered_in_the_order_of_insertion():
    trie = PrefixTrie()
    assert trie.add([7, 8, 7]) == [0, 1, 2]
    assert trie.add([7, 8, 9]) == [0, 1, 3]
    assert trie.add([8]) == [4]
    assert trie.add([7, 8, 7]) == [0, 1, 2]
    assert len(trie) == 5
    assert [token for _, token in trie.nodes] == [7, 8, 7, 9, 8]


@given(sequences, st.lists(st.integers(0, 2), max_size=6))
def test_its_length_is_the_number_of_distinct_prefixes_and_count_new_predicts_it(known, ids):
    trie = PrefixTrie()
    paths = [trie.add(each) for each in known]
    assert len(trie) == len({tuple(each[:end]) for each in known for end in range(1, len(each) + 1)})
    assert [trie.add(each) for each in known] == paths
    before = len(trie)
    expected = trie.count_new(ids)
    assert len(trie) == before
    trie.add(ids)
    assert len(trie) - before == expected
