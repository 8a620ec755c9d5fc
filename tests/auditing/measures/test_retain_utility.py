from __future__ import annotations

from efface.auditing.fact import Row
from efface.auditing.measures.retain_utility import (
    QUESTIONS,
    IntactUtility,
    asked_items,
    retain_utility,
    utility_scalars,
)
from efface.auditing.measures.round_to_nearest import linear_weights
from efface.schema import Item
from support.audit_models import RETAIN, context, knowing, load, subject


def test_utility_is_the_recall_of_retain_answers() -> None:
    around = context([], {})
    assert retain_utility(subject(knowing()), around) == 1
    assert (retain_utility(subject(load()), around) or 0) < 0.3
    half = (RETAIN[0], RETAIN[1].model_copy(update={"answer": "Zoe hates ship Q."}))
    assert retain_utility(subject(knowing()), context([], {}, retain=half)) == 0.5 * (1 + 1 / 4)


def test_without_retain_questions_there_is_none() -> None:
    passage = Item(id="p", question="", answer="Once upon a time.", passage=True)
    assert retain_utility(subject(load()), context([], {}, retain=())) is None
    assert retain_utility(subject(load()), context([], {}, retain=[passage])) is None


def test_some_questions_are_asked() -> None:
    many = [RETAIN[0].model_copy(update={"id": str(number)}) for number in range(90)]
    assert len(asked_items(context([], {}, retain=many))) == QUESTIONS


def test_the_intact_model_is_asked_once() -> None:
    intact, model = IntactUtility(), knowing()
    assert intact(subject(model), context([], {})) == 1
    for _, weight, _ in linear_weights(model):
        weight.data.zero_()
    assert intact(subject(model), context([], {})) == 1
    assert intact(subject(load()), context([], {})) != 1


def test_scalars_are_means_over_seeds() -> None:
    def row(seed: int, fact: str, utility: float) -> Row:
        numbers = {"retain_utility": utility, "retain_utility_intact": 0.9}
        return Row(attack="perturb", variant="noise-1", seed=seed, fact=fact, hit=True, numbers=numbers)

    rows = [row(0, "a", 0.5), row(0, "b", 0.5), row(1, "a", 0.7)]
    assert utility_scalars({"after": rows}) == {"retain_utility_after": 0.9, "retain_utility_noise-1_after": 0.6}
