"""Views hold the right question and answer, and nothing is tokenized twice or in vain."""

from __future__ import annotations

import pytest

from efface.schema import Item
from efface.text.template import Encoded
from efface.train.config import TrainConfig
from efface.train.examples import fine_tuning_examples, unlearning_examples
from efface.train.plan import Draw


class Letters:
    """A formatter whose ids are the letters, and which remembers what it was given."""

    def __init__(self):
        self.seen = []

    def encode(self, rows):
        self.seen += rows
        return [Encoded(id_, [ord(c) for c in prompt.question], [ord(c) for c in answer]) for id_, prompt, answer in rows]


def text(ids):
    return "".join(map(chr, ids))


def item(name):
    return Item(id=name, question=f"{name}?", answer=f"{name}!")


DRAW = Draw(forget=item("f"), retain=item("r"), forget_refusal="no", retain_refusal="sorry")


@pytest.mark.parametrize(
    ("view", "id_", "question", "answer"),
    [
        ("forget", "f", "f?", "f!"),
        ("forget_idk", "f", "f?", "no"),
        ("forget_mismatch", "f", "f?", "r!"),
        ("retain", "r", "r?", "r!"),
        ("retain_idk", "r", "r?", "sorry"),
    ],
)
def test_a_view(view, id_, question, answer):
    [[example]] = unlearning_examples([[DRAW]], [view], Letters())
    assert list(example) == [view]
    assert (example[view].id, text(example[view].prompt), text(example[view].answer)) == (id_, question, answer)


def test_only_the_views_asked_for_are_tokenized_and_each_row_once():
    formatter = Letters()
    again = Draw(forget=item("f"), retain=item("s"), forget_refusal="no", retain_refusal="pass")
    steps = unlearning_examples([[DRAW, again], [DRAW]], ["forget", "retain"], formatter)
    assert [len(step) for step in steps] == [2, 1]
    seen = sorted((id_, prompt.question, answer) for id_, prompt, answer in formatter.seen)
    assert seen == [("f", "f?", "f!"), ("r", "r?", "r!"), ("s", "s?", "s!")]
    assert text(steps[0][1]["retain"].answer) == "s!"
    assert text(steps[1][0]["retain"].answer) == "r!"


def test_fine_tuning_reads_every_item_as_retain():
    items = [item(name) for name in "abcdef"]
    steps = fine_tuning_examples(items, TrainConfig(epochs=2, batch_size=3), 0, Letters())
    ids = [example["retain"].id for step in steps for example in step]
    assert all(list(example) == ["retain"] for step in steps for example in step)
    assert sorted(ids[:6]) == sorted(ids[6:]) == list("abcdef")
    assert ids[:6] != ids[6:]
