"""Names of the evaluation sets, and what scores must know about them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from efface.errors import EffaceError, suggest

FORGET = "forget"
"""The forget set: what the model should no longer know."""

RETAIN = "retain"
"""The set of the same data as the forget set that the model should still know."""

NEIGHBOR = "neighbor"
"""The same for the real-world people: those who are related to people of the forget set."""

KNOWN_FACTS = "known_facts"
"""Well-known facts that the model knew before unlearning and was not trained on, with `data.retain=model-answers`."""

RETAIN_SETS = (RETAIN, NEIGHBOR, "real_authors", "world_facts", KNOWN_FACTS)
"""All sets that the model should still know."""

SETS_WITH_OPTIONS = ("real_authors", "world_facts")
"""Sets whose probability is normalized over the correct and the wrong answers (TOFU)."""

FORGET_KNOWLEDGE = "forget_knowledge"
"""Questions about the forget set, where the forget set itself is running text (MUSE)."""

MEMBERS = "members"
"""Texts that the model before unlearning was trained on, for membership inference; by default the forget set."""

HOLDOUT = "holdout"
"""Items of the same kind that no model was trained on."""

MEMBERSHIP_SETS = (MEMBERS, HOLDOUT)
"""Sets of which only the likelihoods matter: what is neither to be forgotten nor to be retained."""

OTHER_SETS = (FORGET_KNOWLEDGE, *MEMBERSHIP_SETS)
"""Sets that are scored and that no aggregate includes."""

ORDER = (*RETAIN_SETS, FORGET, *OTHER_SETS)
"""Order of the sets in results."""

_FORGOTTEN = re.compile(r"forgotten-([1-9]\d*)")


def is_forgotten(name: str) -> bool:
    """Whether a set is the forget set of an earlier request, such as `forgotten-2` of the second.

    Such sets are scored like the forget set; forget efficacy is the mean over it and them, utility includes none.
    """
    return _FORGOTTEN.fullmatch(name) is not None


def is_to_forget(name: str) -> bool:
    """Whether the model should no longer know the answers of a set."""
    return name in (FORGET, FORGET_KNOWLEDGE) or is_forgotten(name)


def find_retain(names: Container[str]) -> str | None:
    """The set of which the retain aggregates are: `retain`, without one `neighbor` or `known_facts`; None without any.

    The published code scores the neighbors of the real-world people under the name Retain.
    """
    return next((name for name in (RETAIN, NEIGHBOR, KNOWN_FACTS) if name in names), None)


def sort_names(names: Iterable[str]) -> list[str]:
    """Sort set names as results list them: retain sets, the forget set, and those of earlier requests by number."""
    available = set(names)
    matches = [match for name in available if (match := _FORGOTTEN.fullmatch(name))]
    earlier = [match[0] for match in sorted(matches, key=lambda match: int(match[1]))]
    return [*(name for name in ORDER if name in available), *earlier]


def check_names(names: Iterable[str], *, where: str) -> None:
    """Check that all set names are known: as a retain or forget set, an unknown one would be scored wrongly.

    Args:
        names: Names of sets.
        where: Where they come from; starts the message.

    Raises:
        EffaceError: When a name is unknown.
    """
    for name in names:
        if name not in ORDER and not is_forgotten(name):
            raise EffaceError(f"{where}: {name!r} is not an evaluation set; {suggest(name, ORDER)}")
