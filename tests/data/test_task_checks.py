from __future__ import annotations

import pytest

from efface.data.task_checks import check_task_items, find_conflicts, normalize, prompt_key
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task, Turn
from support.messages import assert_names


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


def after(item: Item, *messages: str) -> Item:
    """The item after these user messages."""
    return item.model_copy(update={"history": tuple(Turn(role="user", content=each) for each in messages)})


RETAIN = item("r1", "Where?", "Here")
FORGET = item("f1", "Who?", "Ann")


def test_a_valid_task_is_unchanged() -> None:
    valid = task([FORGET], [RETAIN], warnings=("Earlier warning.",))
    assert check_task_items(valid) == valid


def test_the_retain_set_may_be_empty() -> None:
    assert check_task_items(task([FORGET], [])) == task([FORGET], [])


def test_passages_are_compared_by_their_text() -> None:
    valid = task([passage("f1", "Ann wrote."), passage("f2", "Bob wrote.")], [passage("r2", "Cid wrote."), RETAIN])
    assert check_task_items(valid).warnings == ()


def test_questions_are_compared_with_their_history() -> None:
    forget = after(item("f1", "And where?", "Here"), "Who is Ann?")
    assert check_task_items(task([forget], [after(item("r1", "And where?", "Here"), "Who is Bob?")])).warnings == ()
    with pytest.raises(EffaceError, match="the same question with the same answer"):
        check_task_items(task([forget], [after(item("r1", "And where?", "here"), "who is Ann?")]))


LONG = "Ann wrote poems about the sea. " * 9


@pytest.mark.parametrize(
    ("forget", "retain", "named"),
    [
        ([], [RETAIN], ["forget set of example is empty", "at least one question"]),
        ([FORGET, item("f2", "Where?", "Here")], [RETAIN], ["f2", "r1", "same question", "remove one of them"]),
        ([FORGET, item("f2", " where? ", "HERE")], [RETAIN], ["f2", "r1", "same question", "remove one of them"]),
        ([item("f2", "Where?", "Here")], [item("r0", "Where?", "There"), RETAIN], ["f2", "r1"]),
        ([item("f2", "Where?", "Here")], [RETAIN, item("r0", "Where?", "There")], ["f2", "r1"]),
        ([passage("f1", LONG)], [passage("r1", f" {LONG}")], ["f1", "r1", "same passage", f"{LONG[:80]}…"]),
        ([item("r1", "Who?", "Ann")], [RETAIN], ["example: 2 items have the id 'r1'", "must be unique"]),
    ],
)
def test_errors(forget: list[Item], retain: list[Item], named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        check_task_items(task(forget, retain))
    assert_names(str(caught.value), *named)


def test_ids_of_an_evaluation_set_must_be_unique() -> None:
    scored = EvaluationSet(name="retain", items=(RETAIN, RETAIN), entailment_premise="answer")
    with pytest.raises(EffaceError, match=r"example \(retain evaluation\): 2 items have the id 'r1'"):
        check_task_items(task([FORGET], [RETAIN]).model_copy(update={"evaluation": (scored,)}))


@pytest.mark.parametrize(
    ("forget", "retain", "named"),
    [
        ([item("f2", "Where?", "There")], [RETAIN], ["1 question(s)", "different answers", "f2 and r1, 'Where?'"]),
        ([FORGET, item("f2", "who?", "Ann")], [RETAIN], ["1 item(s)", "repeat an earlier one", "f1 and f2"]),
        ([passage("f1", "Ann wrote."), passage("f2", "Ann  wrote.")], [], ["1 item(s)", "f1 and f2"]),
    ],
)
def test_warnings_are_appended(forget: list[Item], retain: list[Item], named: list[str]) -> None:
    [before, warning] = check_task_items(task(forget, retain, warnings=("Before.",))).warnings
    assert before == "Before."
    assert_names(warning, *named)


def test_conflicts_are_warned_about_once() -> None:
    forget = [item("f1", "Where?", "There"), item("f2", "Where?", "Nowhere")]
    assert len(find_conflicts(task(forget, [RETAIN]))) == 1
    assert find_conflicts(task([FORGET], [RETAIN])) == ()


def test_normalization_ignores_case_and_white_space() -> None:
    assert normalize("  Straße\n 5 ") == "strasse 5"
    asked = after(item("a", " Who? ", "x"), "Hi ")
    assert prompt_key(asked) == ("hi", "who?")
    assert prompt_key(passage("b", "Ann  wrote.")) == ("ann wrote.",)
