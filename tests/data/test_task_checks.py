"""What must hold for every task."""

from __future__ import annotations

import pytest

from efface.data.task_checks import check_task_items
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task, Turn


def item(id: str, question: str, answer: str) -> Item:
    return Item(id=id, question=question, answer=answer)


def task(forget: list[Item], retain: list[Item], *, warnings: tuple[str, ...] = ()) -> Task:
    evaluation = EvaluationSet(name="forget", items=tuple(forget), entailment_premise="output")
    return Task(
        name="example",
        forget=tuple(forget),
        retain=tuple(retain),
        evaluation=(evaluation,),
        refusals=("No.",),
        warnings=warnings,
    )


def passage(id: str, text: str) -> Item:
    return Item(id=id, question="", answer=text, passage=True)


def answered(item: Item, *said: str) -> Item:
    """The item after a conversation of the user's."""
    return item.model_copy(update={"history": tuple(Turn(role="user", content=each) for each in said)})


KEPT = item("r1", "Where?", "Here")
FORGOTTEN = item("f1", "Who?", "Ann")


def test_a_sound_task_passes_unchanged() -> None:
    sound = task([FORGOTTEN], [KEPT], warnings=("Mind the step.",))
    assert check_task_items(sound) == sound


def test_nothing_to_forget_is_refused() -> None:
    with pytest.raises(EffaceError, match="the forget set of example is empty"):
        check_task_items(task([], [KEPT]))


def test_nothing_to_keep_is_sound() -> None:
    assert check_task_items(task([FORGOTTEN], [])) == task([FORGOTTEN], [])


@pytest.mark.parametrize(("question", "answer"), [("Where?", "Here"), (" where? ", "HERE")])
def test_the_same_question_and_answer_on_both_sides_is_refused(question: str, answer: str) -> None:
    with pytest.raises(EffaceError, match=r"f2 \(to forget\) and r1 \(to keep\) are the same question"):
        check_task_items(task([FORGOTTEN, item("f2", question, answer)], [KEPT]))


@pytest.mark.parametrize("order", [1, -1])
def test_a_conflict_beside_a_harmless_twin_is_found(order: int) -> None:
    twins = [item("r0", "Where?", "There"), KEPT][::order]
    with pytest.raises(EffaceError, match=r"f2 .* and r1 "):
        check_task_items(task([item("f2", "Where?", "Here")], twins))


def test_the_same_question_with_another_answer_is_warned_of() -> None:
    [before, found] = check_task_items(task([item("f2", "Where?", "There")], [KEPT], warnings=("Before.",))).warnings
    assert before == "Before."
    assert found.startswith("1 question(s) stand in both the forget and the retain set, with different answers")
    assert "f2 and r1, 'Where?'" in found


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(EffaceError, match="example: 2 items are called 'r1'"):
        check_task_items(task([item("r1", "Who?", "Ann")], [KEPT]))


def test_repeated_ids_in_an_evaluation_set_are_refused() -> None:
    scored = EvaluationSet(name="retain", items=(KEPT, KEPT), entailment_premise="answer")
    with pytest.raises(EffaceError, match=r"example \(retain evaluation\): 2 items are called 'r1'"):
        check_task_items(task([FORGOTTEN], [KEPT]).model_copy(update={"evaluation": (scored,)}))


def test_an_item_that_is_forgotten_twice_is_warned_of() -> None:
    [warning] = check_task_items(task([FORGOTTEN, item("f2", "who?", "Ann")], [KEPT])).warnings
    assert warning.startswith("1 item(s) of the forget set repeat an earlier one")
    assert "f1 and f2" in warning


def test_passages_are_told_apart_by_their_text() -> None:
    sound = task([passage("f1", "Ann wrote."), passage("f2", "Bob wrote.")], [passage("r2", "Cid wrote."), KEPT])
    assert check_task_items(sound).warnings == ()


def test_a_passage_to_forget_and_to_keep_is_refused() -> None:
    text = "Ann wrote poems about the sea. " * 9
    with pytest.raises(EffaceError, match=r"f1 \(to forget\) and r1 \(to keep\) are the same passage \('Ann .{76}…'\)"):
        check_task_items(task([passage("f1", text)], [passage("r1", f" {text}")]))


def test_a_passage_that_is_forgotten_twice_is_warned_of() -> None:
    [warning] = check_task_items(task([passage("f1", "Ann wrote."), passage("f2", "Ann  wrote.")], [])).warnings
    assert warning.startswith("1 item(s) of the forget set repeat an earlier one")


def test_a_question_after_another_conversation_is_another_question() -> None:
    forgotten = answered(item("f1", "And where?", "Here"), "Who is Ann?")
    assert (
        check_task_items(task([forgotten], [answered(item("r1", "And where?", "Here"), "Who is Bob?")])).warnings == ()
    )
    with pytest.raises(EffaceError, match="the same question with the same answer"):
        check_task_items(task([forgotten], [answered(item("r1", "And where?", "here"), "who is Ann?")]))
