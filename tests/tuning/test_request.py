"""What is asked for: the methods, and refusals."""

from __future__ import annotations

import json

import pytest

from efface.errors import EffaceError
from efface.tuning.request import tuning_of
from support.messages import assert_names


@pytest.fixture
def asked(taught_towns):
    def ask(*pairs, **changes):
        given = {"keep": 0.5, "settings": taught_towns, **changes}
        return tuning_of(None, pairs, **given)

    return ask


def test_the_methods(asked, taught_towns, tmp_path):
    assert [*asked().bases] == ["me+gd", "idk+ap"]
    assert [*asked("data.retain=model-answers").bases] == ["me+kl", "idk+kl"]
    assert [*asked("data.retain=model-answers", "method=me+gd").bases] == ["me+gd"]
    assert [*asked("method=npo+gd").bases] == ["npo+gd"]
    assert [*asked(settings={**taught_towns, "method": "GA+GD"}).bases] == ["ga+gd"]
    assert [*asked(methods=["ga+gd", "me+gd", "ga+gd"]).bases] == ["ga+gd", "me+gd"]
    own = {**taught_towns["data"], "retain": "model-answers"}
    assert [*asked(settings={**taught_towns, "data": own}).bases] == ["me+kl", "idk+kl"]
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({**taught_towns, "method": "dpo+gd"}))
    assert [*tuning_of(str(file), [], keep=0.5).bases] == ["dpo+gd"]
    preset = tuning_of("demo", ["model=m"], keep=0.5, methods=["me+gd", "idk+gd"])
    assert [base.forget_coeff for base in preset.bases.values()] == [0.1, 1.0], "each with the preset's own settings"


@pytest.mark.parametrize(
    ("pairs", "changes", "named"),
    [
        ([], {"keep": 0}, ("--keep", "0.95")),
        ([], {"keep": 1.01}, ("--keep", "1.01")),
        ([], {"keep": float("nan")}, ("--keep",)),
        ([], {"minutes": 1, "trials": 1}, ("--minutes", "--trials")),
        (["method=me+gd"], {"methods": ["idk+ap"]}, ("--methods", "method=me+gd")),
        (["keep=0.9"], {}, ("--keep", "keep=")),
        (["definition=tofu"], {}, ("definition=tofu", "closer-look")),
        ([], {"methods": ["nonsense"]}, ("nonsense",)),
        ([], {"space": {"train.lrr": [1.0]}}, ("space", "train.lrr", "train.lr")),
        (["train.lrr=1"], {}, ("train.lrr",)),
    ],
)
def test_what_cannot_be_asked_for(asked, pairs, changes, named):
    with pytest.raises(EffaceError) as refused:
        asked(*pairs, **changes)
    assert_names(str(refused.value), *named)


def test_a_search_may_start_from_what_an_earlier_one_found(asked):
    """Its stop_after would be more than the epochs of other trials."""
    assert asked("train.epochs=9", "train.stop_after=7").base.train.stop_after is None


def test_what_is_searched_is_read_before_anything_is_made(asked, tmp_path):
    (tmp_path / "space.yaml").write_text("beta: [0.1, 0.5]\n")
    assert asked(space=tmp_path / "space.yaml").space == {"method": ("me+gd", "idk+ap"), "beta": (0.1, 0.5)}


def test_a_queue_is_refused(taught_towns):
    values = {**taught_towns, "data": {"retain": taught_towns["data"]["retain"]}}
    requests = {"requests": [taught_towns["data"]["forget"]]}
    with pytest.raises(EffaceError) as refused:
        tuning_of(None, [], keep=0.5, settings={**values, "continual": requests})
    assert_names(str(refused.value), "continual")
