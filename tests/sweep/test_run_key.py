"""Which changes give another key, and which do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from efface.artifacts import Manifest
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.sweep.run_key import Contents, before_key, contents_of, downstream_key, run_key

RUN: dict[str, Any] = {
    "method": "me+gd",
    "model": "some/model",
    "data": {"source": "files", "forget": "a.csv", "retain": "b.csv"},
}
CONTENTS = Contents(model="1" * 64, data={"a.csv": "2" * 64, "b.csv": "3" * 64}, plugins={"mine.py:Loud": "4" * 64})


def run(**changes: Any) -> RunConfig:
    return validate_config(RunConfig, merge_settings(RUN, changes))


@pytest.mark.parametrize("name", ["holdout", "few_shot"])
def test_further_files_count_by_their_content(name: str) -> None:
    def key(path: str, content: str) -> str:
        contents = replace(CONTENTS, data={**CONTENTS.data, path: content * 64})
        return run_key(run(data={**RUN["data"], name: path}), contents)

    assert key("c.csv", "5") == key("elsewhere/c.csv", "5") != run_key(run(), CONTENTS)
    assert key("c.csv", "5") != key("c.csv", "6")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "elsewhere/the-same"},
        {"tokenizer": "elsewhere/the-same"},  # whose hash is in the contents
        {"text": {"boundary": "joint", "date": "2024-07-26"}},  # the defaults
        {"device": "cpu"},
        {"private": False},
        {"train": {"max_tokens_per_forward": 100}},
        {"train": {"gradient_checkpointing": True}},
        {"train": {"save_steps": 3}},
        {"train": {"kl_reference": "live"}},
        {"train": {"tracker": "tensorboard"}},
        {"train": {"watch": True}},
        {"evaluate": {"max_cache_tokens": 100}},
        {"evaluate": {"max_tokens_per_forward": 100}},
        {"downstream": {"tasks": ["arc"], "batch_size": 7}},
        {"downstream": {"tasks": ["arc"], "include": "tasks"}},
        {"train": {"lr": 1e-5}},  # the default
    ],
)
def test_changes_that_keep_the_key(changes: dict[str, Any]) -> None:
    unchanged = run(downstream={"tasks": ["arc"]}) if "downstream" in changes else run()
    assert run_key(run(**changes), CONTENTS) == run_key(unchanged, CONTENTS)


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
        {"text": {"boundary": "separate"}},
        {"text": {"system": "Be kind."}},
        {"text": {"date": "2025-04-10"}},
        {"definition": "paper"},
        {"forget_coeff": 0.5},
        {"me": {"average": "padded"}},
        {"kl": {"average": "padded"}},
        {"train": {"average_over": "micro-batch", "micro_batch_size": 4}},
        {"train": {"pairing": "published"}},
        {"train": {"max_row_length": 300}},
        {"train": {"epoch_ends": "published"}},
        {"data": {"refusals": "refusals.txt"}},
        {"data": {"forget": {"path": "a.csv", "columns": {"question": "q"}}}},
        {"data": {"passage_length": 500}},
    ],
)
def test_settings_that_change_the_key(changes: dict[str, Any]) -> None:
    assert run_key(run(**changes), CONTENTS) != run_key(run(), CONTENTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "9" * 64},
        {"data": {"a.csv": "9" * 64, "b.csv": "3" * 64}},
        {"data": {"a.csv": "2" * 64, "b.csv": "9" * 64}},
        {"plugins": {"mine.py:Loud": "9" * 64}},
        {"plugins": {"mine.py:Quiet": "4" * 64}},
        {"reference": "9" * 64},
        {"tokenizer": "9" * 64},
        {"efface": "9.9"},
    ],
)
def test_contents_that_change_the_key(changes: dict[str, Any]) -> None:
    assert run_key(run(), replace(CONTENTS, **changes)) != run_key(run(), CONTENTS)


def test_names_of_files_and_plugins_do_not_matter() -> None:
    moved = replace(CONTENTS, data={"x/c.csv": "2" * 64, "d.csv": "3" * 64}, plugins={"x/ours.py:Loud": "4" * 64})
    assert run_key(run(data={"forget": "x/c.csv", "retain": "./d.csv"}), moved) == run_key(run(), CONTENTS)
    swapped = replace(CONTENTS, data={"b.csv": "3" * 64, "a.csv": "2" * 64})
    assert run_key(run(data={"forget": "b.csv", "retain": "a.csv"}), swapped) != run_key(run(), CONTENTS)


def test_refusals_are_identified_by_their_content() -> None:
    def key_of(path: str | None, sha256: str) -> str:
        contents = CONTENTS if path is None else replace(CONTENTS, data={**CONTENTS.data, path: sha256})
        return run_key(run(data={"refusals": path}), contents)

    here = key_of("refusals.txt", "5" * 64)
    assert key_of("elsewhere/no.txt", "5" * 64) == key_of("published", "5" * 64) == here
    assert len({here, key_of("refusals.txt", "6" * 64), key_of(None, "")}) == 3
    answers = run(data={"retain": "model-answers", "refusals": "r.txt"})
    planned = replace(CONTENTS, data={"a.csv": "2" * 64, "r.txt": "5" * 64})
    after_run = replace(planned, data={**planned.data, "model answers to 8 questions": "6" * 64})
    assert run_key(answers, planned) == run_key(answers, after_run)


def test_a_padded_average_is_not_that_of_earlier_versions() -> None:
    """Until 0.1.0 it was the sum over real tokens, divided by the number of padded positions."""
    padded = {"average": "padded", "padded_length": 300}
    config = validate_config(RunConfig, {"method": "me+gd", "model": "m", "data": "synthetic-authors", "me": padded})
    assert run_key(config, ALL) != "c287cfabc6be14b737f9600e02a3d24b8db4f42c688fb2874c8bcc2ae1afe526"


def test_files_that_are_used_twice() -> None:
    def key_of(*after: str, retain: str) -> str:
        changes: dict[str, Any] = {"retain": retain, "forgotten_before": list(after), "retain_minus_forget": True}
        return run_key(run(data=changes), CONTENTS)

    assert len({key_of("b.csv", retain="a.csv"), key_of("b.csv", retain="b.csv"), key_of(retain="b.csv")}) == 3


def test_queues_of_requests() -> None:
    def queue(*requests: Any, **continual: Any) -> RunConfig:
        data = {"source": "synthetic-authors", "authors": 9} if isinstance(requests[0], int) else {"retain": "b.csv"}
        return validate_config(RunConfig, {**RUN, "data": data, "continual": {"requests": list(requests), **continual}})

    two = queue(1, 2)
    different = [queue(1, 2, 3), queue(1, 3, 2), queue(1), queue(1, 2, reference="first"), run(data=two.data)]
    assert len({run_key(each, CONTENTS) for each in [two, *different]}) == 6
    assert run_key(queue(1, 2, keep_models="all"), CONTENTS) == run_key(two, CONTENTS)
    assert before_key(queue(1, 2, reference="first"), CONTENTS) == before_key(two, CONTENTS)
    assert len({before_key(each, CONTENTS) for each in (two, queue(1, 2, 3), queue(1, 3, 2), queue(2, 1))}) == 4
    moved = replace(CONTENTS, data={"c.csv": "2" * 64, "x/b.csv": "3" * 64})
    there = validate_config(RunConfig, {**RUN, "data": {"retain": "x/b.csv"}, "continual": {"requests": ["c.csv"]}})
    assert run_key(there, moved) == run_key(queue("a.csv"), CONTENTS)


def test_model_answers_follow_from_model_and_settings() -> None:
    answers = run(data={"retain": "model-answers"})
    planned = replace(CONTENTS, data={"a.csv": "2" * 64})
    after_run = {"a.csv": "2" * 64, "model answers to 8 questions": "5" * 64}
    assert run_key(answers, replace(planned, data=after_run)) == run_key(answers, planned)
    assert run_key(run(data={"retain": "model-answers", "generic_questions": 9}), planned) != run_key(answers, planned)


def test_records_before_unlearning() -> None:
    shared = [
        {"method": "ga+gd"},
        {"seed": 3},
        {"train": {"lr": 2e-5, "lora": {}}},
        {"definition": "paper"},
        {"beta": 0.5},
        {"evaluate": {"every": "epoch", "select_epoch": "best"}},
    ]
    assert {before_key(run(**changes), CONTENTS) for changes in shared} == {before_key(run(), CONTENTS)}
    of = [
        replace(CONTENTS, model="9" * 64),
        replace(CONTENTS, data={"a.csv": "9" * 64, "b.csv": "3" * 64}),
        replace(CONTENTS, efface="9"),
    ]
    assert len({before_key(run(), each) for each in [CONTENTS, *of]}) == 4
    assert before_key(run(), replace(CONTENTS, plugins={}, reference="9" * 64)) == before_key(run(), CONTENTS)
    for changes in (
        {"text": {"format": "plain"}},
        {"evaluate": {"max_new_tokens": 3}},
        {"data": {"retain_evaluation": 3}},
    ):
        assert before_key(run(**changes), CONTENTS) != before_key(run(), CONTENTS)


def test_downstream_tasks_before_unlearning() -> None:
    def key(text: dict[str, Any], **tasks: Any) -> str:
        return downstream_key(run(text=text, downstream={"tasks": ["arc"], **tasks}), CONTENTS)

    assert key({}) == key({"format": "plain"}) == key({"system": "Be kind."}) == key({"boundary": "separate"})
    shown = [{}, {"system": "Be kind."}, {"date": "2025-04-10"}]
    assert len({key(text, chat_template=True) for text in shown}) == 3
    named = replace(CONTENTS, tokenizer="9" * 64)
    assert downstream_key(run(downstream={}), named) != downstream_key(run(downstream={}), CONTENTS)
    assert before_key(run(), named) != before_key(run(), CONTENTS)


def test_how_adapters_go_through_a_queue_matters_with_adapters_alone() -> None:
    def key(how: str, **train: Any) -> str:
        queue = {"data": {"source": "synthetic-authors"}, "continual": {"requests": [1, 2], "lora": how}}
        return run_key(validate_config(RunConfig, {**RUN, **queue, "train": train}), CONTENTS)

    assert key("keep") == key("merge")
    assert key("keep", lora={}) != key("merge", lora={})


def test_other_types_of_jobs() -> None:
    shared = {"model": "m", "data": "synthetic-authors"}
    target = validate_config(FinetuneConfig, shared)
    without = validate_config(FinetuneConfig, {**shared, "without": "forget"})
    stored = validate_config(EvaluationConfig, shared)
    random = validate_config(EvaluationConfig, {**shared, "weights": "random"})
    assert len({run_key(each, CONTENTS) for each in (target, without, stored, random)}) == 4


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


ALL = Contents(
    model="1" * 64,
    data={"a.csv": "2" * 64, "b.csv": "3" * 64, "c.csv": "5" * 64},
    plugins={"mine.py:Loud": "4" * 64},
    tasks={"t.yaml": "6" * 64},
    efface="0.1.0",
)


def test_keys_never_change() -> None:
    """They are in folders of earlier versions, in which some of these settings had other names."""
    config = validate_config(
        RunConfig,
        {
            "method": "me+gd",
            "model": "m",
            "data": {
                "source": "files",
                "forget": "a.csv",
                "forgotten_before": ["b.csv"],
                "retain": "model-answers",
                "known_facts": 0,
                "extra_retain": "c.csv",
                "extra_retain_items": 7,
                "retain_minus_forget": False,
            },
            "seed": 3,
            "train": {"lr": 1e-3, "max_tokens_per_forward": 99},
            "evaluate": {"max_new_tokens": 9, "every": "epoch", "select_epoch": "best"},
            "downstream": {"tasks": ["arc"], "limit": 2},
        },
    )
    assert run_key(config, ALL) == "d6a3bf8b2858ed119de7887f2e77e54289ed6741631ce14ee4f4167782a6e804"
    assert before_key(config, ALL) == "f0e00c6cb6293658fe5c61990d488cea83aee268c23ffa4bd11e7aa5ab0fe43e"
    assert downstream_key(config, ALL) == "8dfc30b4b02ae57a56b0a1d48794877b3a7df9d66126e5816d53fa8691e3e304"


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        (
            RunConfig,
            {"method": "npo+gd", "continual": {"requests": [1, 2]}},
            "f216e7ad1c99da7ae5099d58e04ccd4cc39267bffcc9ad1f3dbb11166092048d",
        ),
        (
            FinetuneConfig,
            {"data": {"source": "synthetic-authors", "authors": 5}, "without": "forget"},
            "e94c9b15610a2425f4238b6ad9e71033f2230dc3744ecd6c46e264a850cd167a",
        ),
        (
            EvaluationConfig,
            {"weights": "random", "evaluate": {"max_new_tokens": 9}},
            "6ef1b9b0e73be77ff554550cf56a03f67cfe9db1d2a2310980d9ac5cfcbe79fe",
        ),
    ],
)
def test_keys_of_other_jobs_never_change(model: Any, settings: dict[str, Any], expected: str) -> None:
    config = validate_config(model, {"model": "m", "data": "synthetic-authors", **settings})
    assert run_key(config, ALL) == expected
