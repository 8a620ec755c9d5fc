"""Names of the evaluation sets, and what a score must know about them."""

from __future__ import annotations

from collections.abc import Iterable

from efface.errors import EffaceError, nearest

FORGET = "forget"
"""What the model should no longer know."""

KEPT = ("retain", "neighbor", "real_authors", "world_facts")
"""What it should still know."""

WITH_OPTIONS = ("real_authors", "world_facts")
"""Sets whose probability is normalized over the right and the wrong answers (TOFU)."""

ORDER = (*KEPT, FORGET)
"""How results list them."""


def check_names(names: Iterable[str], *, where: str) -> None:
    """Refuse a set that no score knows: counted as kept or forgotten, it would be silently wrong.

    Raises `EffaceError` that opens with `where`.
    """
    for name in names:
        if name not in ORDER:
            raise EffaceError(f"{where}: {name!r} is no evaluation set; {nearest(name, ORDER)}")
