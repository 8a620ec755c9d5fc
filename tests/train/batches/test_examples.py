"""Views have the correct question and answer, and each text is tokenized once and only if needed."""

from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.packing.padded_rows import PaddedSequence
from efface.schema import Item, Task
from efface.text.sequence import TokenizedSequence
from efface.train.batches import examples
from efface.train.batches.examples import check_task, fine_tuning_examples, most_bytes, unlearning_examples
from efface.train.batches.lazy_steps import STEPS_PER_BLOCK
from efface.train.batches.sampler import SampledPair
from efface.train.config import TrainConfig
from support.messages import assert_names


class Letters:
    """A formatter whose ids are the letters, and which records what it encodes."""

    pad_token, end_token, limit = 1, ord("!"), None

    def __init__(self):
        self.seen = []

    def encode(self, rows):
        self.seen += rows
        return [
            TokenizedSequence(id_, [ord(c) for c in prompt.question], [ord(c) for c in answer])
            for id_, prompt, answer in rows
        ]


def text(ids):
    return "".join(map(chr, ids))


def item(name):
    return Item(id=name, question=f"{name}?", answer=f"{name}!")


DRAW = SampledPair(forget=item("f"), retain=item("r"), forget_refusal="no", retain_refusal="sorry")


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


def test_the_target_of_jensun():
    for target, answer in (({}, "No idea"), ({"target": "refusal"}, "no"), ({"target": "#"}, "#")):
        bound = objective("jensun+ap", ObjectiveConfig(jensun=target))
        [[example]] = unlearning_examples([[DRAW]], bound.views, Letters(), fixed_answers=bound.fixed_answers)
        assert {view: text(each.answer) for view, each in example.items()} == {
            "forget": "f!",
            "forget_idk": answer,
            "retain": "r!",
            "retain_idk": "sorry",
        }


def test_only_the_requested_views_are_tokenized_and_each_text_once():
    formatter = Letters()
    again = SampledPair(forget=item("f"), retain=item("s"), forget_refusal="no", retain_refusal="pass")
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


PASSAGE = Item(id="p", question="", answer="Once upon a time.", passage=True)


def task(forget, retain):
    return Task(name="mine", forget=(forget,), retain=retain, evaluation=(), refusals=("no",))


@pytest.mark.parametrize("method", ["me+gd", "ga+kl", "idk+ap", "llmu"])
def test_a_method_with_a_retain_loss_needs_a_retain_set(method):
    bound = objective(method, ObjectiveConfig())
    check_task(task(item("f"), (item("r"),)), bound)
    alone = "ga" if method == "llmu" else method.partition("+")[0]
    with pytest.raises(EffaceError, match=rf"^method .* needs a retain set, and mine has none; .* method={alone} to"):
        check_task(task(item("f"), ()), bound)


@pytest.mark.parametrize("method", ["me", "ga", "npo", "dpo", "idk"])
def test_a_method_without_a_retain_loss_needs_no_retain_set(method):
    bound = objective(method, ObjectiveConfig())
    check_task(task(item("f"), ()), bound)
    alone = SampledPair(forget=item("f"), retain=None, forget_refusal="no", retain_refusal="sorry")
    [[example]] = unlearning_examples([[alone]], bound.views, Letters())
    assert set(example) <= {"forget", "forget_idk"}


@pytest.mark.parametrize(
    ("method", "forget", "retain", "refused"),
    [
        ("me+gd", PASSAGE, PASSAGE, None),
        ("npo+kl", PASSAGE, item("r"), None),
        ("ga+ap", PASSAGE, item("r"), None),
        ("idk+gd", item("f"), PASSAGE, None),
        ("idk+gd", PASSAGE, item("r"), "forget"),
        ("dpo+gd", PASSAGE, item("r"), "forget"),
        ("llmu", PASSAGE, item("r"), "forget"),
        ("me+ap", item("f"), PASSAGE, "retain"),
    ],
)
def test_running_text_has_no_other_answer(method, forget, retain, refused):
    bound = objective(method, ObjectiveConfig())
    if refused is None:
        check_task(task(forget, (retain,)), bound)
        return
    with pytest.raises(EffaceError, match=rf"^method .* item 'p' of the {refused} set is running text; use"):
        check_task(task(forget, (retain,)), bound)


def test_padded_views_are_rows():
    lengths = {"forget": 7, "retain": 4}
    [[example]] = unlearning_examples([[DRAW]], ["forget", "forget_idk", "retain"], Letters(), row_lengths=lengths)
    forget, refusal, retain = example["forget"], example["forget_idk"], example["retain"]
    assert isinstance(forget, PaddedSequence)
    assert (text(forget.row), forget.text_length) == ("f?f!\1\1\1", 3)
    assert (text(retain.row), retain.text_length) == ("r?r!", 3)
    assert type(refusal) is TokenizedSequence
    with pytest.raises(EffaceError, match=r"item 'f': .* 4 tokens, more than the 3 .* train\.max_row_length"):
        unlearning_examples([[DRAW]], ["forget"], Letters(), row_lengths={"forget": 3})


def test_long_answers_are_cut_with_their_end():
    [[example]] = unlearning_examples(
        [[DRAW]], ["retain_idk", "retain"], Letters(), max_row_length=5, row_lengths={"retain_idk": 5}
    )
    assert text(example["retain_idk"].answer) == "sor"
    assert example["retain_idk"].text_length == 5  # no end-of-sequence token, so that all of it is text
    assert text(example["retain"].answer) == "r!"
    [[example]] = fine_tuning_examples([item("r")], TrainConfig(epochs=1, batch_size=1, max_row_length=3), 0, Letters())
    assert text(example["retain"].answer) == "r"
    with pytest.raises(EffaceError, match=r"item 'r': its question takes 2 tokens, .*max_row_length=2 .*shorten"):
        unlearning_examples([[DRAW]], ["retain"], Letters(), max_row_length=2)


# Long trainings


def test_a_long_training_tokenizes_ahead_what_the_next_steps_need(monkeypatch):
    items = [item(str(number)) for number in range(200)]
    config = TrainConfig(epochs=2, batch_size=2)
    whole = fine_tuning_examples(items, config, 0, Letters())
    monkeypatch.setattr(examples, "_TEXTS_AHEAD", 399)
    formatter = Letters()
    lazy = fine_tuning_examples(items, config, 0, formatter)
    assert len(formatter.seen) <= 2 * 2 * STEPS_PER_BLOCK  # the first block, and perhaps the next one
    assert list(lazy) == list(whole)


@pytest.mark.parametrize(("limit", "checked"), [(None, []), (2000, []), (1009, ["long"]), (1003, ["f", "long"])])
def test_only_texts_that_may_be_too_long_are_tokenized_twice(monkeypatch, limit, checked):
    monkeypatch.setattr(examples, "_TEXTS_AHEAD", 1)
    formatter = Letters()
    formatter.limit = limit
    fine_tuning_examples([item("f"), item("long")], TrainConfig(epochs=1, batch_size=2), 0, formatter)
    assert sorted(id_ for id_, _, _ in formatter.seen[:-2]) == checked


def test_no_text_is_looked_at_where_all_are_short(monkeypatch):
    """Drawing the pairs of all steps takes long."""
    assert most_bytes([item("é"), item("long")], ["sorry, no"]) == len("long?") + len("sorry, no")
    monkeypatch.setattr(examples, "_TEXTS_AHEAD", 1)
    monkeypatch.setattr(examples, "_check_lengths", lambda *_: looked.append(1))
    formatter, looked = Letters(), []
    formatter.limit = 1020
    for most, expected in ((20, []), (21, [1]), (None, [1, 1])):
        unlearning_examples([[DRAW]] * 2, ["forget"], formatter, most_bytes=most)
        assert looked == expected


@pytest.mark.parametrize("settings", [{"max_row_length": 5}, {"row_lengths": {"forget_idk": 8}}])
def test_what_is_too_long_is_refused_before_a_long_training(monkeypatch, settings):
    """Also a question with the refusal of a late step, which would be tokenized in the middle of the training."""
    monkeypatch.setattr(examples, "_TEXTS_AHEAD", 1)
    late = SampledPair(forget=item("longer"), retain=None, forget_refusal="no", retain_refusal="no")
    steps = [[DRAW]] * (3 * STEPS_PER_BLOCK)
    lazy = unlearning_examples(steps, ["forget_idk"], Letters(), **settings)
    assert all(len(example["forget_idk"]) == 4 for [example] in lazy)
    with pytest.raises(EffaceError, match="item 'longer'"):
        unlearning_examples([*steps, [late]], ["forget_idk"], Letters(), **settings)


def test_altpo_needs_another_answer_to_every_question():
    bound = objective("altpo", ObjectiveConfig())
    with_one = item("f").model_copy(update={"alternate_answers": ("Bob.",)})
    check_task(task(with_one, ()), bound)
    with pytest.raises(EffaceError) as error:
        check_task(task(item("f"), ()), bound)
    assert_names(str(error.value), "altpo", "'f'", "alternate_answers")
