from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.schema import Item, Prompt, Task, Turn

ITEM = Item(id="a", question="Who?", answer="It was Ann.")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"question": " "}, "question is blank"),
        ({"question": "", "passage": True, "history": (Turn(role="user", content="Hi"),)}, "a passage has no history"),
        ({"answer": " \n"}, "answer"),
        ({"key_fact": ""}, "key_fact"),
        ({"answer": 3}, "answer"),
        ({"topic": "x"}, "topic"),
        ({"perturbed_answers": ("a", " ")}, "perturbed_answers"),
    ],
)
def test_invalid_items(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Item.model_validate({"id": "a", "question": "Who?", "answer": "Ann", **settings})


def test_a_passage_may_have_no_question() -> None:
    passage = Item(id="a", question="", answer="Long ago.", passage=True)
    assert passage.prompt == Prompt("", (), passage=True)


def test_texts_are_not_stripped() -> None:
    item = Item(id="a", question=" Who?\n", answer=" Ann ")
    assert (item.question, item.answer) == (" Who?\n", " Ann ")


def test_items_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ITEM.answer = "It was Bob."


def test_the_prompt_contains_the_history() -> None:
    history = (Turn(role="system", content="Be brief."),)
    assert ITEM.model_copy(update={"history": history}).prompt == Prompt("Who?", history)


@pytest.mark.parametrize(
    ("golden", "original", "scored", "embedding", "entailment"),
    [
        (None, None, "It was Ann.", "It was Ann.", "It was Ann."),
        ("Ann", None, "Ann", "It was Ann.", "Ann"),
        (None, "Ann did.", "It was Ann.", "Ann did.", "Ann did."),
        ("Ann", "Ann did.", "Ann", "Ann did.", "Ann did."),
    ],
)
def test_reference_texts_of_the_metrics(
    golden: str | None, original: str | None, scored: str, embedding: str, entailment: str
) -> None:
    item = ITEM.model_copy(update={"golden_answer": golden, "original_answer": original})
    assert (item.scored_answer, item.embedding_target, item.entailment_target) == (scored, embedding, entailment)


def test_a_task_is_the_same_after_writing_and_reading() -> None:
    task = Task(name="t", forget=(ITEM,), retain=(), evaluation=(), refusals=("No.",), sources={"a.csv": "0"})
    assert Task.model_validate_json(task.model_dump_json()) == task


def test_alternate_answers_are_only_written_where_there_are_some() -> None:
    """Hashes of made-up data are of what is written."""
    assert "alternate_answers" not in ITEM.model_dump_json()
    other = ITEM.model_copy(update={"alternate_answers": ("It was Bob.",)})
    assert type(other).model_validate_json(other.model_dump_json()) == other
