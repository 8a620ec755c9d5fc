"""What tells two runs apart, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from efface.artifacts import Manifest
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.sweep.run_key import Contents, before_key, contents_of, key

RUN: dict[str, Any] = {
    "method": "me+gd",
    "model": "some/model",
    "data": {"source": "files", "forget": "a.csv", "retain": "b.csv"},
}
OF = Contents(model="1" * 64, data={"a.csv": "2" * 64, "b.csv": "3" * 64}, plugins={"mine.py:Loud": "4" * 64})


def run(**changes: Any) -> RunConfig:
    return validate_config(RunConfig, merge_settings(RUN, changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "elsewhere/the-same"},
        {"device": "cpu"},
        {"train": {"max_tokens_per_forward": 100}},
        {"train": {"save_steps": 3, "tracker": "tensorboard", "gradient_checkpointing": True}},
        {"evaluate": {"max_cache_tokens": 100, "max_tokens_per_forward": 100}},
        {"train": {"lr": 1e-5}},  # the default
    ],
)
def test_what_changes_no_result(changes: dict[str, Any]) -> None:
    assert key(run(**changes), OF) == key(run(), OF)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "ga+gd"},
        {"seed": 1},
        {"train": {"lr": 2e-5}},
        {"train": {"lora": {}}},
        {"train": {"precision": "bf16"}},
        {"evaluate": {"limit": 3}},
        {"evaluate": {"precision": "bf16"}},
        {"evaluate": {"every": "epoch"}},
        {"text": {"format": "plain"}},
        {"definition": "paper"},
        {"forget_coeff": 0.5},
        {"me": {"average": "padded"}},
        {"data": {"forget": {"path": "a.csv", "columns": {"question": "q"}}}},
        {"data": {"passage_length": 500}},
    ],
)
def test_what_changes_results(changes: dict[str, Any]) -> None:
    assert key(run(**changes), OF) != key(run(), OF)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "9" * 64},
        {"data": {"a.csv": "9" * 64, "b.csv": "3" * 64}},
        {"data": {"a.csv": "2" * 64, "b.csv": "9" * 64}},
        {"plugins": {"mine.py:Loud": "9" * 64}},
        {"plugins": {"mine.py:Quiet": "4" * 64}},
        {"reference": "9" * 64},
        {"efface": "9.9"},
    ],
)
def test_contents_that_change_results(changes: dict[str, Any]) -> None:
    assert key(run(), replace(OF, **changes)) != key(run(), OF)


def test_names_of_files_and_plugins_are_no_matter() -> None:
    moved = replace(OF, data={"x/c.csv": "2" * 64, "d.csv": "3" * 64}, plugins={"x/ours.py:Loud": "4" * 64})
    assert key(run(data={"forget": "x/c.csv", "retain": "./d.csv"}), moved) == key(run(), OF)
    swapped = replace(OF, data={"b.csv": "3" * 64, "a.csv": "2" * 64})
    assert key(run(data={"forget": "b.csv", "retain": "a.csv"}), swapped) != key(run(), OF)


def test_files_that_serve_twice() -> None:
    def of(*after: str, retain: str) -> str:
        changes: dict[str, Any] = {"retain": retain, "forgotten_before": list(after), "retain_minus_forget": True}
        return key(run(data=changes), OF)

    assert len({of("b.csv", retain="a.csv"), of("b.csv", retain="b.csv"), of(retain="b.csv")}) == 3


def test_queues_of_requests() -> None:
    def of(*requests: Any, **continual: Any) -> RunConfig:
        data = {"source": "synthetic-authors", "authors": 9} if isinstance(requests[0], int) else {"retain": "b.csv"}
        return validate_config(RunConfig, {**RUN, "data": data, "continual": {"requests": list(requests), **continual}})

    two = of(1, 2)
    different = [of(1, 2, 3), of(1, 3, 2), of(1), of(1, 2, reference="first"), run(data=two.data)]
    assert len({key(each, OF) for each in [two, *different]}) == 6
    assert key(of(1, 2, keep_models="all"), OF) == key(two, OF)
    assert before_key(of(1, 2, reference="first"), OF) == before_key(two, OF)
    assert len({before_key(each, OF) for each in (two, of(1, 2, 3), of(1, 3, 2), of(2, 1))}) == 4
    moved = replace(OF, data={"c.csv": "2" * 64, "x/b.csv": "3" * 64})
    there = validate_config(RunConfig, {**RUN, "data": {"retain": "x/b.csv"}, "continual": {"requests": ["c.csv"]}})
    assert key(there, moved) == key(of("a.csv"), OF)


def test_own_answers_are_left_to_what_decides_them() -> None:
    own = run(data={"retain": "model-answers"})
    planned, made = replace(OF, data={"a.csv": "2" * 64}), {"a.csv": "2" * 64, "own answers to 8 questions": "5" * 64}
    assert key(own, replace(planned, data=made)) == key(own, planned)
    assert key(run(data={"retain": "model-answers", "generic_questions": 9}), planned) != key(own, planned)


def test_records_before_unlearning() -> None:
    shared = [
        {"method": "ga+gd"},
        {"seed": 3},
        {"train": {"lr": 2e-5, "lora": {}}},
        {"definition": "paper"},
        {"beta": 0.5},
        {"evaluate": {"every": "epoch", "select_epoch": "best"}},
    ]
    assert {before_key(run(**changes), OF) for changes in shared} == {before_key(run(), OF)}
    of = [
        replace(OF, model="9" * 64),
        replace(OF, data={"a.csv": "9" * 64, "b.csv": "3" * 64}),
        replace(OF, efface="9"),
    ]
    assert len({before_key(run(), each) for each in [OF, *of]}) == 4
    assert before_key(run(), replace(OF, plugins={}, reference="9" * 64)) == before_key(run(), OF)
    for changes in (
        {"text": {"format": "plain"}},
        {"evaluate": {"max_new_tokens": 3}},
        {"data": {"retain_evaluation": 3}},
    ):
        assert before_key(run(**changes), OF) != before_key(run(), OF)


def test_other_kinds_of_jobs() -> None:
    shared = {"model": "m", "data": "synthetic-authors"}
    target = validate_config(FinetuneConfig, shared)
    without = validate_config(FinetuneConfig, {**shared, "without": "forget"})
    stored = validate_config(EvaluationConfig, shared)
    random = validate_config(EvaluationConfig, {**shared, "weights": "random"})
    assert len({key(each, OF) for each in (target, without, stored, random)}) == 4


def test_contents_of_a_run() -> None:
    made = Manifest(
        efface="0.0.9", commit=None, command=[], seed=0, device="cpu", precision="float32", versions={},
        data={"a.csv": "2" * 64}, plugins={"mine.py:Loud": "4" * 64}, model="m", model_sha256="1" * 64, started="now",
        notes=["resumed", f"compared with ../that (sha256 {'7' * 64})"],
    )  # fmt: skip
    found = contents_of(made)
    assert (found.model, found.data, found.plugins) == ("1" * 64, made.data, made.plugins)
    assert (found.reference, found.efface) == ("7" * 64, "0.0.9")
    assert contents_of(made.model_copy(update={"notes": []})).reference is None
