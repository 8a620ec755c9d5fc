"""Lists of messages, as chat models are trained on: OpenAI's and Hugging Face's form, and ShareGPT's. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efface.data.readers.table import SourceRow, type_name
from efface.errors import EffaceError
from efface.schema import Prompt, Role, Turn

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
"""Capitals tell nothing apart."""
_KEYS = {"role", "from", "content", "value", "weight", "tool_calls", "function_call"}
"""What of a message is read."""


@dataclass(frozen=True)
class Message:
    """One message of a list."""

    place: int
    """In the list, counted from 1."""
    turn: Turn
    is_target: bool
    """Whether an answer is one to learn from: OpenAI's weight 0 says that it only goes into the history."""


def read_messages(row: SourceRow, column: str) -> tuple[Message, ...]:
    """Return the messages that a column holds, without blank system prompts.

    A message has `role` and `content` (text, or a list of parts with `type: text`), or ShareGPT's `from` and
    `value`. Raises `EffaceError` for anything else: tools, images, other blank messages.
    """
    value = row.value(column)
    if not isinstance(value, list):
        problem = f"column {column!r} must hold a list of messages, not {type_name(value)}"
        raise row.refusal(problem, "write it as objects with role and content")
    found = (_message(row, column, place, each) for place, each in enumerate(value, 1))
    return tuple(message for message in found if message is not None)


def prompt_answer_pairs(
    row: SourceRow, column: str, messages: Sequence[Message], before: tuple[Turn, ...]
) -> tuple[tuple[Prompt, str], ...]:
    """Return every answer of the assistant with what it goes on from; a last question without answer is left out.

    `before`: what is said before the messages of this column. Raises `EffaceError` where the assistant says nothing
    to learn from, or something that follows no message of the user.
    """
    found = []
    said = (*before, *(message.turn for message in messages))
    for place, (message, turn) in enumerate(zip(messages, said[len(before) :], strict=True), len(before)):
        if turn.role != "assistant" or not message.is_target:
            continue
        if place == 0 or said[place - 1].role != "user":
            problem = f"message {message.place} of column {column!r} is the assistant's but follows none of the user"
            raise row.refusal(problem, "put the user's message before it or remove it")
        found.append((Prompt(said[place - 1].content, said[: place - 1]), turn.content))
    if not found:
        raise _without_answers(row, column, messages)
    return tuple(found)


def ignored_text_keys(messages: object) -> set[str]:
    """Return the keys that hold text in a list's messages and are not read, such as a model's reasoning."""
    each = [message for message in messages if isinstance(message, Mapping)] if isinstance(messages, list) else []
    texts = {key for message in each for key, value in message.items() if isinstance(value, str) and value.strip()}
    return texts - _KEYS


def _message(row: SourceRow, column: str, place: int, message: object) -> Message | None:
    what = f"message {place} of column {column!r}"
    if not isinstance(message, Mapping):
        raise row.refusal(
            f"{what} is {type_name(message)}, not an object", "write it as an object with role and content"
        )
    if message.get("tool_calls") or message.get("function_call"):
        raise row.refusal(f"{what} calls a tool, which cannot be read", "remove the conversation")
    role, content = _role(row, what, message), message.get("content", message.get("value"))
    if role == "system" and (content is None or (isinstance(content, str) and not content.strip())):
        return None
    turn = Turn(role=role, content=row.checked(_joined(row, what, content), what))
    return Message(place, turn, is_target=message.get("weight") != 0)


def _role(row: SourceRow, what: str, message: Mapping[object, object]) -> Role:
    role = message.get("role", message.get("from"))
    if not isinstance(role, str) or role.lower() not in _ROLES:
        problem = f"{what} has the role {role!r}, which is none of {', '.join(_ROLES)}"
        raise row.refusal(problem, "rename the role")
    return _ROLES[role.lower()]


def _without_answers(row: SourceRow, column: str, messages: Sequence[Message]) -> EffaceError:
    if any(message.turn.role == "assistant" for message in messages):
        problem = f"every answer of the assistant in column {column!r} has weight 0"
        return row.refusal(problem, "give one another weight or remove the conversation")
    return row.refusal(f"column {column!r} holds no answer of the assistant", "add one or remove the conversation")


def _joined(row: SourceRow, what: str, content: object) -> object:
    """Join the parts of a content that is a list."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            found = part.get("type") if isinstance(part, Mapping) else type_name(part)
            raise row.refusal(f"{what} holds a part that is no text ({found})", "remove the conversation")
        texts.append(row.checked(part.get("text"), what))
    return "".join(texts)
