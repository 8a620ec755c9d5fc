"""Names of the evaluation sets, and what a score must know about them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from efface.errors import EffaceError, suggest

FORGET = "forget"
"""What the model should no longer know."""

KEPT = ("retain", "neighbor", "real_authors", "world_facts")
"""What it should still know."""

WITH_OPTIONS = ("real_authors", "world_facts")
"""Sets whose probability is normalized over the right and the wrong answers (TOFU)."""

ORDER = (*KEPT, FORGET)
"""How results list them."""

_FORGOTTEN = re.compile(r"forgotten-([1-9]\d*)")


def is_forgotten(name: str) -> bool:
    """Whether the set holds what earlier requests asked to forget, such as `forgotten-2` for the second.

    Such sets are scored as the forget set is, and counted in no aggregate.
    """
    return _FORGOTTEN.fullmatch(name) is not None


def ordered(names: Iterable[str]) -> list[str]:
    """The names as results list them: what is kept, what is forgotten now, and earlier requests by their numbers."""
    there = set(names)
    earlier = sorted((match for name in there if (match := _FORGOTTEN.fullmatch(name))), key=lambda each: int(each[1]))
    return [*(name for name in ORDER if name in there), *(match[0] for match in earlier)]


def check_names(names: Iterable[str], *, where: str) -> None:
    """Refuse a set that no score knows: counted as kept or forgotten, it would be silently wrong.

    Raises `EffaceError` that opens with `where`.
    """
    for name in names:
        if name not in ORDER and not is_forgotten(name):
            raise EffaceError(f"{where}: {name!r} is no evaluation set; {suggest(name, ORDER)}")
