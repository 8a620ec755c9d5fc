from __future__ import annotations

from efface.auditing.attacks.templates import EXAMPLES, TEMPLATES, Material, options_prompt, reverse_prompt
from efface.schema import Item
from support.audited import RETAIN, fact, facts

ITEMS = [
    Item(id=f"retain/{number}", question=row["question"], answer=row["answer"]) for number, row in enumerate(RETAIN)
]


def material(text_format: str = "chat", siblings: tuple[Item, ...] = ()) -> Material:
    return Material(retain=ITEMS, siblings=siblings, text_format=text_format, has_chat_template=True)


def test_no_template_says_the_fact() -> None:
    for name, template in TEMPLATES.items():
        for text_format in ("chat", "plain"):
            asked = template(fact(), material(text_format))
            if asked is not None:
                shown = "".join(turn.content for turn in asked.prompt.history) + asked.prompt.question + asked.start
                assert "Turku" not in shown, name
                assert "tower Ba" in shown or "Tower Ba" in shown, name


def test_examples_are_turns_or_text() -> None:
    asked = TEMPLATES["few-shot"](fact(), material())
    assert asked is not None
    assert len(asked.prompt.history) == 2 * EXAMPLES
    assert asked.prompt.question == fact().question
    asked = TEMPLATES["few-shot"](fact(), material("plain"))
    assert asked is not None
    assert asked.prompt.history == ()
    assert asked.prompt.question.count("Answer: Tower") == EXAMPLES
    assert asked.prompt.question.endswith(f"Question: {fact().question}")


def test_the_examples_are_those_of_like_form() -> None:
    like = Item(id="z", question="Where is tower Ba's twin?", answer="Far.")
    other = Material(retain=[*ITEMS, like], siblings=(), text_format="plain", has_chat_template=False)
    asked = TEMPLATES["few-shot"](fact(question="Where is tower Ba's cellar?"), other)
    assert asked is not None
    assert like.question in asked.prompt.question


def test_the_context_has_other_facts_of_the_same_subject() -> None:
    of_subject = tuple(each.item.model_copy(update={"entity": "Ba"}) for each in facts(3))
    asked = TEMPLATES["in-context"](fact(), material(siblings=of_subject))
    assert asked is not None
    assert [turn.content for turn in asked.prompt.history if turn.role == "user"].count(fact().question) == 0
    assert len(asked.prompt.history) == 4
    assert TEMPLATES["in-context"](fact(entity=None), material(siblings=of_subject)) is None


def test_a_template_that_does_not_apply_is_left_out() -> None:
    assert TEMPLATES["paraphrased"](fact(paraphrased_question=None), material()) is None
    assert TEMPLATES["cloze"](fact(key_fact=None), material()) is None
    assert TEMPLATES["cloze"](fact(answer="Turku has it."), material()) is None
    cloze = TEMPLATES["cloze"](fact(), material())
    assert cloze is not None
    assert cloze.prompt.question.endswith("Tower Ba is in ____.")


def test_options_are_in_an_order_of_their_own_for_each_fact() -> None:
    wrong = tuple(f"Tower X is in {town}." for town in ("Vaasa", "Kemi", "Pori"))
    found = [options_prompt(fact(number, perturbed_answers=wrong)) for number in range(6)]
    letters = [each[1] for each in found if each is not None]
    assert len(set(letters)) > 1
    asked, letter, count = found[0] or (None, "", 0)
    assert asked is not None
    assert count == 4
    assert f"{letter}. Tower Ba is in Turku." in asked.prompt.question
    assert options_prompt(fact()) is None


def test_the_reverse_question_hides_the_subject() -> None:
    asked = reverse_prompt(fact())
    assert asked is not None
    assert "Ba" not in asked.prompt.question
    assert "Turku" in asked.prompt.question
    assert reverse_prompt(fact(entity=None)) is None
