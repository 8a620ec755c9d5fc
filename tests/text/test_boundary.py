"""Where the answer starts in joint ids, and the sentence about answers that share a token with their prompt."""

from __future__ import annotations

from typing import get_args

import pytest

from efface.text.boundary import Border, describe_merged, find_border
from efface.text.config import Boundary
from efface.text.sequence import TokenizedSequence
from support.messages import assert_names


def border(prompt, joint):
    """Of tokens that are given as text."""
    tokens = list(dict.fromkeys([*prompt, *joint]))
    ids = [[tokens.index(token) for token in part] for part in (prompt, joint)]
    return find_border(*ids, lambda ids: [tokens[id_] for id_ in ids])


@pytest.mark.parametrize(
    ("prompt", "joint", "expected"),
    [
        (["a", "b"], ["a", "b", "c"], Border(2, 2)),
        (["a", "b"], ["a", "bc", "d"], Border(1, 2)),
        (["a", "b"], ["abc", "d"], Border(0, 1)),  # two tokens of the prompt merge
        (["ab"], ["a", "b", "c"], Border(2, 2)),  # one is split, and none crosses
        (["ab", "c"], ["a", "bcd", "e"], Border(1, 2)),
        (["a"], ["ab"], Border(0, 1)),  # there is nothing after the crossing token
        ([], ["a"], Border(0, 0)),
        (["e"], ["é", "t"], Border(0, 1)),  # other characters: as many tokens as the prompt has
    ],
)
def test_the_border_of_tokens(prompt, joint, expected):
    assert border(prompt, joint) == expected


@pytest.mark.parametrize("boundary", get_args(Boundary))
def test_answers_that_share_a_token_are_counted_once(boundary):
    plain, shared = TokenizedSequence("a", [1], [2]), TokenizedSequence("b", [1], [3], merged=True)
    assert describe_merged([plain], boundary, purpose="training") is None
    text = describe_merged([plain, shared, shared], boundary, purpose="training")
    assert text is not None
    assert_names(text, "training", "1 of 2 answers", "'b'", f"text.boundary={boundary}" if boundary != "joint" else "")
