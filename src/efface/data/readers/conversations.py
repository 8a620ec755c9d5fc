"""Lists of chat messages: the format of OpenAI and Hugging Face, and that of ShareGPT. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efface.data.readers.table import SourceRow, type_name
from efface.errors import EffaceError
from efface.schema import Prompt, Role, Turn

MAX_MESSAGES = 2000
"""Of one conversation. Each answer has all messages before it as its history, so the cost grows with the square."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
"""Role in lower case -> role in a `Turn`."""
_READ_KEYS = {"role", "from", "content", "value", "weight", "tool_calls", "function_call"}
"""The keys of a message that are read."""


@dataclass(frozen=True)
class Message:
    """One message of a list."""

    number: int
    """Position in the list, counted from 1."""
    turn: Turn
    is_target: bool
    """Whether an answer is trained on; OpenAI's weight 0 puts it only into the history of later ones."""


def read_messages(row: SourceRow, column: str) -> tuple[Message, ...]:
    """Read a list of messages.

    Args:
        row: The row.
        column: A column with a list of messages that have `role` and `content` (text, or a list of parts with
            `type: text`), or ShareGPT's `from` and `value`.

    Returns:
        The messages without blank system prompts.

    Raises:
        EffaceError: If the value is not such a list, or a message is blank, calls a tool or contains an image.
    """
    value = row.value(column)
    if isinstance(value, list) and len(value) > MAX_MESSAGES:
        problem = f"column {column!r} has {len(value):,} messages, the limit is {MAX_MESSAGES:,}"
        raise row.error(problem, "split the conversation into several rows")
    if not isinstance(value, list):
        problem = f"column {column!r} must be a list of messages, not {type_name(value)}"
        raise row.error(problem, "write it as objects with role and content")
    messages = (_read_message(row, column, number, each) for number, each in enumerate(value, 1))
    return tuple(message for message in messages if message is not None)


def prompt_answer_pairs(
    row: SourceRow, column: str, messages: Sequence[Message], before: tuple[Turn, ...]
) -> tuple[tuple[Prompt, str], ...]:
    """Split a conversation into the assistant's answers, each with its prompt.

    Args:
        row: The row, for error messages.
        column: The column of the messages, for error messages.
        messages: The messages; a last question without an answer is ignored.
        before: Turns before the messages.

    Returns:
        A pair for every answer that is trained on.

    Raises:
        EffaceError: If there is no such answer, or one does not follow a user message.
    """
    pairs = []
    turns = (*before, *(message.turn for message in messages))
    for index, message in enumerate(messages, len(before)):
        if message.turn.role != "assistant" or not message.is_target:
            continue
        if index == 0 or turns[index - 1].role != "user":
            problem = (
                f"message {message.number} of column {column!r} is from the assistant but follows none of the user"
            )
            raise row.error(problem, "insert the user's message before it or remove it")
        pairs.append((Prompt(turns[index - 1].content, turns[: index - 1]), message.turn.content))
    if not pairs:
        raise _no_answer_error(row, column, messages)
    return tuple(pairs)


def ignored_text_keys(messages: object) -> set[str]:
    """Find keys of messages that contain text but are not read, such as a model's reasoning.

    Args:
        messages: The value of a column; anything but a list has no such keys.

    Returns:
        The keys.
    """
    mappings = [message for message in messages if isinstance(message, Mapping)] if isinstance(messages, list) else []
    with_text = {
        key for message in mappings for key, value in message.items() if isinstance(value, str) and value.strip()
    }
    return with_text - _READ_KEYS


def _read_message(row: SourceRow, column: str, number: int, message: object) -> Message | None:
    what = f"message {number} of column {column!r}"
    if not isinstance(message, Mapping):
        raise row.error(f"{what} is {type_name(message)}, not an object", "write it as an object with role and content")
    if message.get("tool_calls") or message.get("function_call"):
        raise row.error(f"{what} calls a tool, which is not supported", "remove the conversation")
    role, content = _read_role(row, what, message), message.get("content", message.get("value"))
    if role == "system" and (content is None or (isinstance(content, str) and not content.strip())):
        return None
    turn = Turn(role=role, content=row.check_text(_join_parts(row, what, content), what))
    return Message(number, turn, is_target=message.get("weight") != 0)


def _read_role(row: SourceRow, what: str, message: Mapping[object, object]) -> Role:
    role = message.get("role", message.get("from"))
    if not isinstance(role, str) or role.lower() not in _ROLES:
        problem = f"{what} has the role {role!r}, which is not one of {', '.join(_ROLES)}"
        raise row.error(problem, "rename the role")
    return _ROLES[role.lower()]


def _no_answer_error(row: SourceRow, column: str, messages: Sequence[Message]) -> EffaceError:
    if any(message.turn.role == "assistant" for message in messages):
        problem = f"every answer of the assistant in column {column!r} has weight 0"
        return row.error(problem, "change the weight of one or remove the conversation")
    return row.error(f"column {column!r} contains no answer of the assistant", "add one or remove the conversation")


def _join_parts(row: SourceRow, what: str, content: object) -> object:
    """Join the parts of a content that is a list."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            part_type = part.get("type") if isinstance(part, Mapping) else type_name(part)
            raise row.error(f"{what} contains a part that is not text ({part_type})", "remove the conversation")
        texts.append(row.check_text(part.get("text"), what))
    return "".join(texts)
