"""A trie of token sequences: prefixes that several sequences share are stored once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_ROOT = -1


class PrefixTrie:
    """Numbers the distinct prefixes of token sequences, in the order in which they are added.

    Its length is the number of tokens that a causal model has to read for all sequences added so far.
    """

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], int] = {}
        """(node of the preceding token, or -1 for a first token; token id) -> node, numbered from 0."""

    def __len__(self) -> int:
        return len(self.nodes)

    def add(self, ids: Iterable[int]) -> list[int]:
        """Add a sequence of token ids and return the node of each of its tokens."""
        nodes, path = self.nodes, []
        node = _ROOT
        for token in ids:
            node = nodes.setdefault((node, token), len(nodes))
            path.append(node)
        return path

    def count_new(self, ids: Sequence[int]) -> int:
        """Return the number of nodes that `add` would create, in tokens."""
        node = _ROOT
        for index, token in enumerate(ids):
            child = self.nodes.get((node, token))
            if child is None:
                return len(ids) - index
            node = child
        return 0
