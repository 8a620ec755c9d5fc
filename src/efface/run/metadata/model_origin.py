"""License and base model of the model before unlearning, from the card in its folder: a new card passes them on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from efface.errors import EffaceError
from efface.files.safe_read import read_text
from efface.files.safe_yaml import InvalidYamlError, parse_yaml
from efface.hub import UnavailableError, is_hub_name, resolve_local_model

_MAX_BYTES = 1 << 20
_LICENSE = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}")


@dataclass(frozen=True)
class Origin:
    """What a model card says of where a model is from; None where it is not known."""

    base_model: str | None
    """Name on the hub."""
    license: str | None
    """As on the hub, such as `apache-2.0`."""


def model_origin(name: str) -> Origin:
    """Find the license and the base model of a model.

    Args:
        name: A folder, or a name on the hub, optionally followed by @revision; nothing is downloaded.

    Returns:
        The name on the hub, or else the one in the folder's card; and the license in that card.
    """
    card = _card(name)
    base, found = card.get("base_model"), card.get("license")
    if is_hub_name(name):
        base = name.partition("@")[0]
    return Origin(
        base_model=base if isinstance(base, str) and is_hub_name(base) else None,
        license=found if isinstance(found, str) and _LICENSE.fullmatch(found) else None,
    )


def _card(name: str) -> dict[str, Any]:
    """The settings at the start of README.md; empty without one that can be read."""
    try:
        folder = resolve_local_model(name)
        text = "" if folder is None else read_text(folder / "README.md", _MAX_BYTES, "it is not read")
        front = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
        values = parse_yaml(front[1]) if front else None
    except (UnavailableError, EffaceError, OSError, UnicodeDecodeError, InvalidYamlError):
        return {}
    return values if isinstance(values, dict) else {}
