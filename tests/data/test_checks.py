"""What must hold for every task."""

from __future__ import annotations

import pytest

from efface.data.checks import checked
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task


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


KEPT = item("r1", "Where?", "Here")
FORGOTTEN = item("f1", "Who?", "Ann")


def test_a_sound_task_passes_unchanged() -> None:
    sound = task([FORGOTTEN], [KEPT], warnings=("Mind the step.",))
    assert checked(sound) == sound


def test_nothing_to_forget_or_to_keep_is_refused() -> None:
    with pytest.raises(EffaceError, match="the forget set of example is empty"):
        checked(task([], [KEPT]))
    with pytest.raises(EffaceError, match="the retain set of example is empty"):
        checked(task([FORGOTTEN], []))


@pytest.mark.parametrize(("question", "answer"), [("Where?", "Here"), (" where? ", "HERE")])
def test_the_same_question_and_answer_on_both_sides_is_refused(question: str, answer: str) -> None:
    with pytest.raises(EffaceError, match=r"f2 \(to forget\) and r1 \(to keep\) are the same question"):
        checked(task([FORGOTTEN, item("f2", question, answer)], [KEPT]))


@pytest.mark.parametrize("order", [1, -1])
def test_a_conflict_beside_a_harmless_twin_is_found(order: int) -> None:
    twins = [item("r0", "Where?", "There"), KEPT][::order]
    with pytest.raises(EffaceError, match=r"f2 .* and r1 "):
        checked(task([item("f2", "Where?", "Here")], twins))


def test_the_same_question_with_another_answer_is_warned_of() -> None:
    [before, found] = checked(task([item("f2", "Where?", "There")], [KEPT], warnings=("Before.",))).warnings
    assert before == "Before."
    assert found.startswith("1 question(s) stand in both the forget and the retain set, with different answers")
    assert "f2 and r1, 'Where?'" in found


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(EffaceError, match="example: 2 items are called 'r1'"):
        checked(task([item("r1", "Who?", "Ann")], [KEPT]))


def test_repeated_ids_in_an_evaluation_set_are_refused() -> None:
    scored = EvaluationSet(name="retain", items=(KEPT, KEPT), entailment_premise="answer")
    with pytest.raises(EffaceError, match=r"example \(retain evaluation\): 2 items are called 'r1'"):
        checked(task([FORGOTTEN], [KEPT]).model_copy(update={"evaluation": (scored,)}))


def test_an_item_that_is_forgotten_twice_is_warned_of() -> None:
    [warning] = checked(task([FORGOTTEN, item("f2", "who?", "Ann")], [KEPT])).warnings
    assert warning.startswith("1 item(s) of the forget set repeat an earlier one")
    assert "f1 and f2" in warning
