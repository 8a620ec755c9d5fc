from __future__ import annotations

import re
from pathlib import Path

from efface.data.sources.refusals import load_refusals


def words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+", re.sub(r"['’]", "", text.lower())))


def test_there_are_a_hundred_different_refusals() -> None:
    refusals = load_refusals()
    assert len(refusals) == len({words(refusal) for refusal in refusals}) == 100
    assert all(refusal == refusal.strip() and refusal[-1] == "." for refusal in refusals)


def test_none_is_one_of_the_published_refusals(shared: Path) -> None:
    published = (shared / "data" / "idontknow.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(published) == 100
    assert not {words(refusal) for refusal in load_refusals()} & {words(refusal) for refusal in published}
