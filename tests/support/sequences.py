"""Token sequences that share prefixes, and others that do not."""

from __future__ import annotations

from hypothesis import strategies as st

from efface.text.sequence import TokenizedSequence

TWO = [TokenizedSequence("a", [10, 11], [12, 13, 14]), TokenizedSequence("b", [20], [21])]
"""Without a common prefix."""
FOUR = [
    TokenizedSequence("right", [10, 11], [12, 13]),
    TokenizedSequence("other", [20], [21]),
    TokenizedSequence("wrong", [10, 11], [12, 14, 15]),
    TokenizedSequence("again", [10, 11], [12, 13]),
]
"""The third shares a prefix with the first; the last is equal to it."""

_ids = st.lists(st.integers(0, 1), min_size=1, max_size=6)
sharing_prefixes = st.lists(
    st.tuples(_ids, _ids).map(lambda ids: TokenizedSequence("x", *ids)), min_size=1, max_size=10
)
"""Sequences of only two distinct tokens, so that many share prefixes."""
lengths = st.lists(st.integers(2, 300), min_size=1, max_size=12)


def sequences_of(sizes: list[int]) -> list[TokenizedSequence]:
    """Sequences of these lengths, no two with a common prefix."""
    return [TokenizedSequence(str(index), [index], [1] * (size - 1)) for index, size in enumerate(sizes)]


def distinct_prefixes(sequences: list[TokenizedSequence]) -> set[tuple[int, ...]]:
    complete = [(*item.prompt, *item.answer) for item in sequences]
    return {ids[:end] for ids in complete for end in range(1, len(ids) + 1)}
