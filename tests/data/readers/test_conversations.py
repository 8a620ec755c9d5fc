from __future__ import annotations

from typing import Any

import pytest

from efface.data.readers.conversations import ignored_text_keys, prompt_answer_pairs, read_messages
from efface.data.readers.table import SourceRow
from efface.errors import EffaceError
from efface.schema import Prompt, Turn
from support.messages import assert_names
from support.user_data import ASSISTANT, USER

SYSTEM = Turn(role="system", content="Be brief.")


def pairs(messages: object, before: tuple[Turn, ...] = ()) -> tuple[tuple[Prompt, str], ...]:
    row = SourceRow("mine.jsonl", 2, {"messages": messages}, unit="line")
    return prompt_answer_pairs(row, "messages", read_messages(row, "messages"), before)


@pytest.mark.parametrize(
    "messages",
    [
        [USER, ASSISTANT],
        [USER, ASSISTANT, USER],
        [{**USER, "role": "User"}, {**ASSISTANT, "role": "Model"}],
        [{"role": "system", "content": " "}, USER, ASSISTANT],
        [{"role": "system", "content": None}, USER, ASSISTANT],
        [{**USER, "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "o?"}]}, ASSISTANT],
        [{**USER, "tool_calls": None}, {**ASSISTANT, "tool_calls": []}],
        [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ann."}],
    ],
)
def test_formats_of_one_question_and_answer(messages: list[dict[str, Any]]) -> None:
    assert pairs(messages) == ((Prompt("Who?"), "Ann."),)
    assert pairs(messages, (SYSTEM,)) == ((Prompt("Who?", (SYSTEM,)), "Ann."),)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_prompt_is_in_the_history(role: str) -> None:
    assert pairs([{"role": role, "content": "Be brief."}, USER, ASSISTANT]) == ((Prompt("Who?", (SYSTEM,)), "Ann."),)


def test_every_answer_has_everything_before_it_as_its_prompt() -> None:
    turns = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Who?"},
        {"from": "gpt", "value": "Ann."},
        {"from": "human", "value": "Sure?"},
        {"from": "human", "value": "Really?"},
        {"from": "gpt", "value": "Yes."},
    ]
    first, (prompt, answer) = pairs(turns)
    assert first == (Prompt("Who?", (SYSTEM,)), "Ann.")
    assert (prompt.question, answer) == ("Really?", "Yes.")
    assert [turn.content for turn in prompt.history] == ["Be brief.", "Who?", "Ann.", "Sure?"]


def test_an_answer_of_weight_0_is_only_in_the_history() -> None:
    turns = [USER, {**ASSISTANT, "weight": 0}, {**USER, "content": "Sure?"}, {**ASSISTANT, "content": "Yes."}]
    [(prompt, answer)] = pairs(turns)
    assert (prompt.question, answer) == ("Sure?", "Yes.")
    assert [turn.content for turn in prompt.history] == ["Who?", "Ann."]


@pytest.mark.parametrize(
    ("messages", "keys"),
    [
        ([{**USER, "name": "Bob"}, {**ASSISTANT, "reasoning_content": "Hm."}], {"name", "reasoning_content"}),
        ([{**ASSISTANT, "tool_calls": None, "weight": 1, "tokens": 3, "refusal": " "}], set()),
        ("Who?", set()),
        (None, set()),
    ],
)
def test_keys_with_text_that_are_not_read(messages: object, keys: set[str]) -> None:
    assert ignored_text_keys(messages) == keys


TOOL_CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        ("Who?", ["must be a list of messages, not text", "objects with role and content"]),
        (None, ["must be a list of messages, not null"]),
        ([], ["contains no answer of the assistant", "add one or remove the conversation"]),
        ([USER], ["contains no answer of the assistant"]),
        ([USER, {**ASSISTANT, "weight": 0}], ["every answer of the assistant", "has weight 0", "change the weight"]),
        ([{"role": "system", "content": ""}, ASSISTANT], ["message 2 of", "from the assistant but follows none"]),
        ([ASSISTANT], ["message 1 of", "from the assistant but follows none of the user", "insert the user's message"]),
        ([USER, ASSISTANT, ASSISTANT], ["message 3 of", "from the assistant but follows none of the user"]),
        (["Who?"], ["message 1 of", "is text, not an object", "an object with role and content"]),
        ([USER, {"role": "tool", "content": "x"}], ["message 2 of", "has the role 'tool'", "rename the role"]),
        ([{"from": "function", "value": "x"}], ["has the role 'function'", "system, developer, user"]),
        ([USER, {**ASSISTANT, "function_call": {"name": "f"}}], ["message 2 of", "calls a tool", "remove the"]),
        ([USER, TOOL_CALL], ["message 2 of", "calls a tool"]),
        ([{"content": "x"}], ["message 1 of", "has the role None"]),
        ([{"role": ["user"], "content": "x"}], ["message 1 of", "has the role ['user']"]),
        ([{"role": "user", "content": [{"type": "image_url"}]}], ["not text (image_url)", "remove the conversation"]),
        ([{"role": "user", "content": ["x"]}], ["message 1 of", "not text (text)"]),
        ([{"role": "user", "content": " "}, ASSISTANT], ["message 1 of", "is blank", "fill it in or remove the row"]),
        ([{"role": "user", "content": None}], ["message 1 of", "is null or empty"]),
        ([{"role": "user", "content": 7}], ["message 1 of", "must be text, not a number", "convert it"]),
    ],
)
def test_errors(messages: object, named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        pairs(messages)
    assert_names(str(caught.value), *["mine.jsonl, line 2: ", "column 'messages'", *named])
