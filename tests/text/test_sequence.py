"""A question and an answer as token ids."""

from __future__ import annotations

from efface.text.sequence import TokenizedSequence


def test_the_key_of_a_sequence_is_its_content():
    first, same = TokenizedSequence("1", [1, 2], [3]), TokenizedSequence("2", [1, 2], [3], merged=True)
    moved = TokenizedSequence("3", [1], [2, 3])
    assert first.key == same.key
    assert first.prompt + first.answer == moved.prompt + moved.answer
    assert first.key != moved.key
    assert len(first) == len(moved) == 3
