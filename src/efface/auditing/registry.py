"""Which attacks an audit makes: the built-in ones by name or tier, and custom ones."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import cast, get_args

from efface.auditing.attack import Attack, Tier
from efface.config.plugins import Plugin
from efface.errors import EffaceError, suggest

PLAIN = "plain"
"""The name of asking as the run does, which is part of every audit."""
_BUILT_IN = {
    PLAIN: "plain:Plain",
    "ask-otherwise": "ask_otherwise:AskOtherwise",
    "relearn": "relearn:Relearn",
    "quantize": "quantize:Quantize",
    "first-words": "first_words:FirstWords",
    "sample": "sample:Sample",
    "read-out": "read_out:ReadOut",
    "membership": "membership:Membership",
    "lens": "lens:Lens",
    "static": "static:Static",
    "perturb": "perturb:Perturb",
    "bitsandbytes": "bitsandbytes:Bitsandbytes",
    "at-retention": "at_retention:AtRetention",
    "both-models": "both_models:BothModels",
}
"""Name -> module and class, in the order in which a time limit keeps them."""


def select_attacks(names: Sequence[str], plugins: Sequence[Plugin] = ()) -> list[Attack]:
    """Find the attacks of an audit.

    Args:
        names: Of attacks, or of tiers: `asks`, `weights` or `both`.
        plugins: Custom attacks.

    Returns:
        The attacks, each once, `plain` first; the built-in ones before custom ones.

    Raises:
        EffaceError: A name is unknown, or a plug-in has the name of a built-in attack.
    """
    custom = [cast(Attack, plugin.cls()) for plugin in plugins]
    if taken := next((attack.name for attack in custom if attack.name in _BUILT_IN), None):
        raise EffaceError(f"plug-in attack {taken!r} has the name of a built-in one; give it another name")
    attacks = {name: _load(place) for name, place in _BUILT_IN.items()} | {attack.name: attack for attack in custom}
    tiers: tuple[Tier, ...] = get_args(Tier)
    chosen = {PLAIN}
    for name in names:
        if name in tiers:
            allowed = tiers[: tiers.index(name) + 1]
            chosen |= {attack.name for attack in attacks.values() if attack.tier in allowed}
        elif name in attacks:
            chosen.add(name)
        else:
            known = [*tiers, *(each for each in attacks if each != PLAIN)]
            raise EffaceError(f"audit.attacks: there is no attack {name!r}; {suggest(name, known)}")
    return [attack for attack in attacks.values() if attack.name in chosen]


def not_tried(attacks: Sequence[Attack]) -> list[str]:
    """Names of the built-in attacks that are not among some."""
    names = {attack.name for attack in attacks}
    return [name for name in _BUILT_IN if name not in names]


def _load(place: str) -> Attack:
    module, _, name = place.partition(":")
    return cast(Attack, getattr(import_module(f"efface.auditing.attacks.{module}"), name)())
