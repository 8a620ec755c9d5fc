"""What an attacker trains on in each arm of `relearn`, and which facts are then asked for. No torch."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from efface.auditing.attack import Context, Level
from efface.auditing.fact import Fact
from efface.data.sources.known_facts import load_known_facts
from efface.data.sources.synthetic_authors import make_authors
from efface.schema import Item

Arm = Literal["some", "near", "form", "few", "far"]
ARMS: tuple[Arm, ...] = get_args(Arm)
"""By importance."""
FOLDS: dict[Level, int] = {"quick": 3, "standard": 5, "full": 5}
"""Parts of the facts in the arm `some`; every part is held out once, so that every fact is asked for."""
_LEAST_SUBJECTS = 5
"""From so many subjects on, all facts of a subject are in one fold."""
_LEAST_FEW, _FEW_SHARE = 4, 0.1
_FAR_ROWS = 100
_MADE_UP_AUTHORS, _MADE_UP_SEED = 5, 2**31 - 1
_SYLLABLES = [text for first in "bdgklmnprstvwz" for text in (f"{first}a", f"{first}en", f"{first}or")]


@dataclass(frozen=True)
class Training:
    """One training of an arm."""

    rows: tuple[Item, ...]
    """What is trained on."""
    asked: tuple[Fact, ...]
    """Facts that are not among the rows."""


def training_of(arm: Arm, fold: int, facts: Sequence[Fact], context: Context) -> Training:
    """Split the facts for an arm.

    Args:
        arm: `some`: all folds of the facts but one, which is asked for. `few`: a tenth of them, the others are
            asked for. `near`: as many rows of the retain set. `form`: rows of the forget set's form with made-up names
            and facts. `far`: well-known facts. The last three ask for all facts.
        fold: Which fold is asked for; only `some` has several.
        facts: All that are audited.
        context: With the retain set.

    Returns:
        Rows and facts; both may be empty where the data does not allow the arm.
    """
    match arm:
        case "some":
            held_out = {fact.id for fact in folds(facts, FOLDS[context.level])[fold]}
            return Training(
                tuple(fact.item for fact in facts if fact.id not in held_out),
                tuple(fact for fact in facts if fact.id in held_out),
            )
        case "few":
            count = max(_LEAST_FEW, round(_FEW_SHARE * len(facts)))
            given = {fact.id for fact in sorted(facts, key=lambda fact: _order(fact.id))[:count]}
            return Training(
                tuple(fact.item for fact in facts if fact.id in given),
                tuple(fact for fact in facts if fact.id not in given),
            )
        case "near":
            rows = sorted(context.retain, key=lambda item: _order(item.id))[: max(len(facts), _LEAST_FEW)]
            return Training(tuple(rows), tuple(facts))
        case "form":
            return Training(_made_up(facts), tuple(facts))
        case "far":
            known = sorted((each.item for each in load_known_facts().questions), key=lambda item: _order(item.id))
            return Training(tuple(known[:_FAR_ROWS]), tuple(facts))


def folds(facts: Sequence[Fact], count: int) -> list[list[Fact]]:
    """Parts of the facts: whole subjects where there are enough, else single questions.

    Args:
        facts: All that are audited.
        count: Number of parts.

    Returns:
        Parts of like size, with each fact in one of them; some are empty where there are fewer facts than parts.
    """
    by_subject = len({fact.subject for fact in facts} - {None}) >= _LEAST_SUBJECTS
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.subject if by_subject and fact.subject is not None else fact.id, []).append(fact)
    parts: list[list[Fact]] = [[] for _ in range(count)]
    for name in sorted(groups, key=lambda name: (-len(groups[name]), _order(name))):
        min(parts, key=len).extend(groups[name])  # the largest first, so that the parts are of like size
    return parts


def _made_up(facts: Sequence[Fact]) -> tuple[Item, ...]:
    """The questions with another subject and another key fact; synthetic authors where the data names neither."""
    replaceable = [fact for fact in facts if fact.subject and fact.key_fact and fact.subject in fact.question]
    if not replaceable:
        authors = make_authors(_MADE_UP_AUTHORS, _MADE_UP_SEED)
        return tuple(sorted(authors, key=lambda item: _order(item.id))[: max(len(facts), _LEAST_FEW)])
    return tuple(_replaced(fact) for fact in replaceable)


def _replaced(fact: Fact) -> Item:
    assert fact.subject is not None
    assert fact.key_fact is not None
    subject, made_up = _name(fact.subject), _value(fact.key_fact, fact.answer_type)
    answer = _swap(_swap(fact.answer, fact.key_fact, made_up), fact.subject, subject)
    question = _swap(fact.question, fact.subject, subject)
    return Item(id=f"made-up/{fact.id}", question=question, answer=answer, history=fact.prompt.history)


def _name(name: str) -> str:
    return " ".join(_word(f"{name}/{index}") for index in range(len(name.split())))


def _value(fact: str, kind: str) -> str:
    """Another fact of the type."""
    draw = random.Random(f"value/{fact}")
    if kind in ("year", "number"):
        return re.sub(
            r"\d", lambda match: str((int(match[0]) + draw.randint(1, 8)) % 10) if match.start() else match[0], fact
        )
    return _name(fact) if fact[:1].isupper() else _name(fact).lower()


def _word(seed: str) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice(_SYLLABLES) for _ in range(draw.randint(2, 3))).capitalize()


def _swap(text: str, old: str, new: str) -> str:
    return re.sub(re.escape(old), new.replace("\\", r"\\"), text, flags=re.IGNORECASE)


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
