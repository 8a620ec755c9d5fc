"""Lists of messages, as chat models are trained on: OpenAI's and Hugging Face's form, and ShareGPT's. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from efface.data.rows import Row, kind
from efface.schema import Prompt, Role, Turn

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


def turns_of(row: Row, column: str) -> tuple[Turn, ...]:
    """Return the messages that a column holds.

    A message has `role` and `content` (text, or a list of parts with `type: text`), or ShareGPT's `from` and
    `value`. Raises `EffaceError` for anything else: tools, images, blank messages.
    """
    value = row.value(column)
    if not isinstance(value, list):
        problem = f"column {column!r} must hold a list of messages, not {kind(value)}"
        raise row.refusal(problem, "write it as objects with role and content")
    return tuple(_turn(row, f"message {place} of column {column!r}", each) for place, each in enumerate(value, 1))


def exchanges(row: Row, turns: tuple[Turn, ...], column: str) -> tuple[tuple[Prompt, str], ...]:
    """Return every answer of the assistant with what it goes on from; a last question without answer is left out.

    Raises `EffaceError` where the assistant says nothing, or something that follows no message of the user.
    """
    found = []
    for place, turn in enumerate(turns):
        if turn.role == "assistant":
            if place == 0 or turns[place - 1].role != "user":
                problem = f"message {place + 1} of column {column!r} is the assistant's but follows none of the user"
                raise row.refusal(problem, "put the user's message before it or remove it")
            found.append((Prompt(turns[place - 1].content, turns[: place - 1]), turn.content))
    if not found:
        raise row.refusal(f"column {column!r} holds no answer of the assistant", "add one or remove the conversation")
    return tuple(found)


def _turn(row: Row, what: str, message: object) -> Turn:
    if not isinstance(message, Mapping):
        raise row.refusal(f"{what} is {kind(message)}, not an object", "write it as an object with role and content")
    role = message.get("role", message.get("from"))
    if message.get("tool_calls") or message.get("function_call"):
        raise row.refusal(f"{what} calls a tool, which cannot be read", "remove the conversation")
    if not isinstance(role, str) or role not in _ROLES:
        problem = f"{what} has the role {role!r}, which is none of {', '.join(_ROLES)}"
        raise row.refusal(problem, "remove the conversation")
    content = message.get("content", message.get("value"))
    return Turn(role=_ROLES[role], content=row.checked(_joined(row, what, content), what))


def _joined(row: Row, what: str, content: object) -> object:
    """Join the parts of a content that is a list."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            found = part.get("type") if isinstance(part, Mapping) else kind(part)
            raise row.refusal(f"{what} holds a part that is no text ({found})", "remove the conversation")
        texts.append(row.checked(part.get("text"), what))
    return "".join(texts)
