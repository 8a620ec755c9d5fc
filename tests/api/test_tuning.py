"""`efface.tune`: rows and a model as objects."""

from __future__ import annotations

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import efface
from support.run_fixtures import one_thread  # noqa: F401
from support.tune_fixtures import taught_towns  # noqa: F401


@pytest.fixture
def search(taught_towns, tmp_path):  # noqa: F811
    settings = {name: taught_towns[name] for name in ("text", "train", "evaluate", "device")}
    rows = {name: taught_towns["data"][name] for name in ("forget", "retain")}

    def run(**changes):
        given = {"keep": 0.5, "trials": 1, "methods": ["me+gd"], "out": tmp_path / "out"}
        return efface.tune(taught_towns["model"], **rows, **{**settings, **given, **changes})

    return run


def test_the_model_and_what_was_found(search):
    found = search(space={"train.lr": [1e-3]})
    assert found.results.tune.searched == {"train.lr": [1e-3]}
    assert found.model.num_parameters() > 0
    assert found.records["after"]["forget"]
    assert [each.number for each in search(trials=2, resume=True, space={"train.lr": [1e-3]}).results.tune.trials] == [
        1,
        2,
    ]


def test_rows_and_models_may_be_objects(taught_towns, tmp_path):  # noqa: F811
    model = AutoModelForCausalLM.from_pretrained(taught_towns["model"])
    tokenizer = AutoTokenizer.from_pretrained(taught_towns["model"])
    rows = [{"question": "Where is tower 0?", "answer": "Tower 0 is in Turku."}]
    settings = {name: taught_towns[name] for name in ("text", "train", "evaluate", "device")}
    data = {"forget": rows, "retain": taught_towns["data"]["retain"]}
    given = {"keep": 0.5, "trials": 1, "methods": ["me+gd"], "tokenizer": tokenizer, **data, **settings}
    found = efface.tune(model, out=tmp_path / "out", **given)
    assert len(found.records["before"]["forget"]) == 1


@pytest.mark.parametrize(("changes", "named"), [({"keep": 1.5}, "1.5"), ({"minutes": 1}, "trials")])
def test_what_cannot_be_used_is_refused(search, changes, named):
    with pytest.raises(efface.EffaceError, match=named):
        search(**changes)
