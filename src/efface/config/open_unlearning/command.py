"""Convert a command of open-unlearning, and find the overrides that the conversion did not use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from efface.config.open_unlearning.configs import Command
from efface.config.open_unlearning.convert import Converted, convert
from efface.errors import EffaceError

_OTHER_VALUES = ("another value", None)


def convert_command(arguments: Sequence[str]) -> Converted:
    """Convert a command that starts an unlearning run.

    Args:
        arguments: As for `compose_config`.

    Returns:
        Settings that `efface run` takes, and notes; the last one lists the overrides that were not used.

    Raises:
        EffaceError: The command cannot be put together, it is no unlearning run, or a value cannot be used.
    """
    command = Command.read(arguments)
    composed = command.compose()
    try:
        converted = convert(composed)
    except EffaceError as error:
        raise EffaceError(f"{' '.join(arguments)}: {error}") from error
    unused = [each.text for place, each in enumerate(command.overrides) if not _matters(command, place, converted)]
    if listed := [*command.ignored, *unused]:
        note = f"not used, without a counterpart or without effect on this run: {', '.join(listed)}"
        converted = replace(converted, notes=(*converted.notes, note))
    return converted


def _matters(command: Command, place: int, converted: Converted) -> bool:
    """Whether settings or notes would be others without an override, or with another value of it."""
    before, override, after = command.overrides[:place], command.overrides[place], command.overrides[place + 1 :]
    others = [()] if override.sign == "~" else [(replace(override, value=value),) for value in _OTHER_VALUES]
    for other in others:
        try:
            if convert(replace(command, overrides=(*before, *other, *after)).compose()) != converted:
                return True
        except EffaceError:  # a value that cannot be used was read
            return True
    return False
