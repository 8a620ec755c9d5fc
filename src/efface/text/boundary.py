"""Where the answer starts in the token ids of prompt and answer together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from efface.text.config import Boundary
from efface.text.sequence import TokenizedSequence


@dataclass(frozen=True)
class Border:
    """A position in the ids of prompt and answer together."""

    start: int
    """Index of the token that has characters of both; equal to `end` if there is none."""
    end: int
    """Index of the first token of which every character belongs to the answer."""


def find_border(
    prompt_ids: Sequence[int], joint_ids: Sequence[int], to_tokens: Callable[[list[int]], list[str]]
) -> Border:
    """Find where the characters of the prompt end.

    Args:
        prompt_ids: Ids of the prompt alone.
        joint_ids: Ids of prompt and answer together.
        to_tokens: From ids to tokens; the characters of a text's tokens, one after another, are those of the text.

    Returns:
        The border. Where the tokens of both do not have the same characters, as if a tokenizer composes a letter and
        an accent across the border, it is where the published code of arXiv:2410.08109 puts it: after as many tokens
        as the prompt alone has.
    """
    pairs = enumerate(zip(prompt_ids, joint_ids, strict=False))
    same = next((index for index, (alone, joint) in pairs if alone != joint), min(len(prompt_ids), len(joint_ids)))
    if same == len(prompt_ids):
        return Border(same, same)
    rest, covered = "".join(to_tokens(list(prompt_ids[same:]))), ""
    for index, token in enumerate(to_tokens(list(joint_ids[same:])), same):
        covered += token
        if len(covered) >= len(rest):
            if not covered.startswith(rest):
                break
            return Border(index + 1 if covered == rest else index, index + 1)
    end = min(len(prompt_ids), len(joint_ids))
    return Border(end - 1, end)


_CONSEQUENCES: dict[Boundary, str] = {
    "joint": (
        "it belongs to the prompt and is neither trained nor scored; text.boundary=joint-counted counts it, "
        "text.boundary=separate splits it"
    ),
    "joint-counted": "it belongs to the answer, and is trained and scored (text.boundary=joint-counted)",
    "separate": (
        "it is split (text.boundary=separate), so that a model tuned on both together sees other tokens; "
        "text.boundary=joint keeps it"
    ),
}


def describe_merged(sequences: Iterable[TokenizedSequence], boundary: Boundary, *, purpose: str) -> str | None:
    """Say how many answers have a token with characters of both prompt and answer.

    Args:
        sequences: Tokenized answers; repeated ones count once.
        boundary: The setting `text.boundary`.
        purpose: What the answers are for, such as `training`.

    Returns:
        A sentence; None if no answer has such a token.
    """
    distinct = {(each.id, each.key): each for each in sequences}
    merged = [each for each in distinct.values() if each.merged]
    if not merged:
        return None
    return (
        f"{purpose}: {len(merged):,} of {len(distinct):,} answers (first: that of item {merged[0].id!r}) share a token "
        f"with the end of their prompt: {_CONSEQUENCES[boundary]}"
    )
