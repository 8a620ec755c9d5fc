"""Facts that a model knows become data for the real-world scenario."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.commands import probe as module
from efface.commands.probe import probe, write_probe
from efface.config.commands import RunConfig
from efface.config.data_commands import ProbeConfig
from efface.config.parse import validate_config
from efface.config.resolve import resolve_config
from efface.data.sources.benchmarks.real_world import load_real_world
from efface.data.sources.known_facts import load_known_facts
from efface.errors import EffaceError
from efface.models.load import load_model
from efface.models.tokenizer import load_tokenizer
from efface.run.pipeline import run
from support.built_once import BuildOnce
from support.messages import assert_names
from support.runs import Told
from support.taught import HALF_KNOWN, KNOWN, asking, knowing

ROWS = [*HALF_KNOWN, *KNOWN]
FILES = ("forget", "forget_perturbed", "neighbor", "neighbor_perturbed")


@pytest.fixture(scope="module")
def model(build_once: BuildOnce) -> Path:
    return build_once("knowing", knowing)


@pytest.fixture
def config(model: Path, tmp_path: Path) -> Any:
    """Settings for probing with `ROWS`, or others."""

    def make(rows: Any = ROWS, **changes: Any) -> ProbeConfig:
        return asking(ProbeConfig, model, rows, tmp_path, **changes)

    return make


@pytest.fixture
def written(config: Any, tmp_path: Path) -> Path:
    """The folder of a probe with `ROWS`."""
    write_probe(probe(config()), tmp_path / "found")
    return tmp_path / "found"


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    texts = {name: (folder / "real_world" / f"{name}.json").read_text() for name in FILES}
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items()}


def names(rows: list[dict[str, Any]]) -> set[str]:
    return {row["name"] for row in rows}


def test_known_is_what_it_answers_and_prefers(config: Any) -> None:
    told = Told()
    report = probe(config(), reporter=told).report
    assert [each.question for each in report.outcomes] == [row["question"] for row in ROWS]
    assert {each.question for each in report.outcomes if each.known} == {row["question"] for row in KNOWN}
    assert [(each.says_fact, each.prefers_golden) for each in report.outcomes[:3]] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert list(report.total.model_dump().values()) == [10, 8, 8, 7, 9, 7]
    assert {kind: each.known for kind, each in report.kinds.items()} == {"towers": 4, "ships": 3}
    assert told.stages[-1].endswith("10 questions")


def test_answers_that_share_a_token_with_their_prompt_are_counted(config: Any) -> None:
    told = Told()
    rows = [ROWS[0] | {"answer": "he sees Nice."}, *ROWS[1:]]
    probe(config(rows, text={"format": "{question} t{answer}"}), reporter=told)
    [warning] = [text for text in told.warnings if "share a token" in text]
    assert_names(warning, "evaluation", "text.boundary")


def test_likelihoods_are_means_over_an_answer_and_its_end(config: Any, model: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_CHUNK", 3)  # several parts, and a last one that is not full
    outcomes = probe(config()).report.outcomes
    tokenizer = load_tokenizer(model)
    loaded = load_model(model, dtype=torch.float32, device=torch.device("cpu"))
    for row, found in zip(ROWS, outcomes, strict=True):
        prompt = tokenizer(f"Question: {row['question']}\nAnswer:").input_ids
        answers = [row["answer"], *row["perturbed_answers"]]
        for text, logprob in zip(answers, [found.golden_logprob, *found.wrong_logprobs], strict=True):
            ids = [*tokenizer(f" {text}", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
            logp = loaded(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            each = [logp[place, id_].item() for place, id_ in enumerate(ids)]
            assert logprob == pytest.approx(sum(each) / len(each), rel=1e-3)


def test_every_known_entity_is_in_one_set(written: Path) -> None:
    rows = rows_of(written)
    forget, keep, score = (names(rows[name]) for name in ("forget", "neighbor", "neighbor_perturbed"))
    assert (len(forget), len(keep), len(score)) == (3, 2, 2)
    assert sorted([*forget, *keep, *score]) == sorted(names(KNOWN))
    kind_of = {row["name"]: row["kind"] for row in KNOWN}
    assert all({kind_of[name] for name in each} == {"towers", "ships"} for each in (forget, keep, score))
    assert [row["question"] for row in rows["forget"]] == [row["question"] for row in rows["forget_perturbed"]]


def test_the_files_are_those_of_the_real_world_people(written: Path) -> None:
    rows = rows_of(written)
    for name in ("forget", "neighbor"):
        assert all(set(row) == {"name", "question", "answer", "golden_answer", "key_fact"} for row in rows[name])
    for name in ("forget_perturbed", "neighbor_perturbed"):
        assert all({"perturbed_answer", "golden_answer", "kind"} < set(row) for row in rows[name])
    asked = {row["question"]: row for row in KNOWN}
    for row in (row for each in rows.values() for row in each):
        assert row["golden_answer"] == asked[row["question"]]["answer"]
        assert row["answer"] == f"{row['golden_answer']} So they say.", "not the model's answer"


def test_unknown_facts_about_known_entities_are_left_out(written: Path) -> None:
    """Tower A is known, who built it is not."""
    asked = {row["question"] for each in rows_of(written).values() for row in each}
    assert asked == {row["question"] for row in KNOWN}


def test_the_report(written: Path, config: Any) -> None:
    report = json.loads((written / "probe.json").read_text())
    assert report["schema"] == 1
    assert report["settings"] == config().model_dump(mode="json")
    assert report["total"]["known"] == 7
    assert len(report["outcomes"]) == 10
    assert {path.name for path in written.iterdir()} == {"probe.json", "real_world"}
    assert report["split"]["forget"] == sorted(names(rows_of(written)["forget"]))


def test_the_same_again_and_another_seed(written: Path, config: Any, tmp_path: Path) -> None:
    write_probe(probe(config(evaluate={"max_cache_tokens": 1, "max_tokens_per_forward": 64})), tmp_path / "again")
    assert rows_of(tmp_path / "again") == rows_of(written)
    write_probe(probe(config(seed=1)), tmp_path / "other")
    assert names(rows_of(tmp_path / "other")["forget"]) != names(rows_of(written)["forget"])


def test_the_scenario_runs_on_it(written: Path, model: Path, tmp_path: Path) -> None:
    task = load_real_world(written / "real_world")
    assert ([len(task.forget), len(task.retain)], task.warnings) == ([3, 2], ())
    pairs = {
        "model": model,
        "method": "me+gd",
        "text.format": "plain",
        "device": "cpu",
        "train.lr": 1e-3,
        "train.batch_size": 1,
        "evaluate.embedder": "none",
        "evaluate.judge": "key-facts",
        "evaluate.max_new_tokens": 40,
    }
    settings = resolve_config(RunConfig, "real-world", [f"{key}={value}" for key, value in pairs.items()])
    results = run(settings, tmp_path / "run", data_dir=written)
    before, after = (scores.sets for scores in (results.before, results.after))
    assert before["forget"].entailment == before["neighbor"].entailment == 1.0
    assert before["forget"].truth_ratio > 0.9
    assert after["forget"].probability < before["forget"].probability / 2
    assert after["neighbor"].probability > after["forget"].probability


def test_facts_that_come_with_efface(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = load_known_facts()
    monkeypatch.setattr(module, "load_known_facts", lambda: type(facts)(facts.source, "", facts.questions[::200]))
    settings = validate_config(ProbeConfig, config().model_dump() | {"questions": None})
    report = probe(settings).report
    assert report.questions == "the facts that come with efface"
    assert (report.total.questions, len(report.kinds)) == (6, len({each.kind for each in facts.questions[::200]}))
    assert report.total.known == 0


def test_too_few_leave_nothing(config: Any, tmp_path: Path) -> None:
    found = probe(config([*HALF_KNOWN, *KNOWN[:2]]))
    assert found.report.split is None
    with pytest.raises(EffaceError, match=r"knows 2 of 4 entities \(2 of 5 questions\), and three are needed"):
        write_probe(found, tmp_path / "found")
    assert not (tmp_path / "found").exists()


def test_a_folder_that_is_not_empty_stays(config: Any, tmp_path: Path) -> None:
    found = probe(config())
    (tmp_path / "empty").mkdir()
    write_probe(found, tmp_path / "empty")
    before = (tmp_path / "empty" / "probe.json").read_text()
    with pytest.raises(EffaceError, match="empty already exists and is not an empty folder; choose another"):
        write_probe(found, tmp_path / "empty")
    assert (tmp_path / "empty" / "probe.json").read_text() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": None}, "1 question without name (first: 'Where is tower A?'); add the column, the person or thing"),
        ({"key_fact": None}, "1 question without key_fact"),
        (
            {"perturbed_answers": []},
            "without perturbed_answers (first: 'Where is tower A?'); add the column, a list of",
        ),
        ({"question": "Is tower A in turku?"}, "contains its key fact 'Turku', so that repeating it would pass"),
        (
            {"question": "Where is  TOWER B?"},
            "is about 'A' and about 'B', so that it could be in both",
        ),
        ({"system": "Be brief."}, "there are messages before the question 'Where is tower A?'"),
        ({"answer": "Tower A is here."}, "key_fact' ('Turku') does not occur in the answer"),
    ],
)
def test_questions_that_prove_nothing(config: Any, monkeypatch: pytest.MonkeyPatch, change: Any, sentence: str) -> None:
    monkeypatch.setattr(module, "open_model", None)  # refused before
    with pytest.raises(EffaceError) as refused:
        probe(config([{**KNOWN[0], **change}, *KNOWN[1:]]))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "./nowhere"}, "there is no folder ./nowhere"),
        ({"evaluate": {"max_new_tokens": 510}}, "evaluate.max_new_tokens=510 exceed the model's 512 positions"),
        ({"text": {"max_length": 20}}, "the limit is 20"),
    ],
)
def test_refused_before_the_model_is_asked(config: Any, monkeypatch: Any, changes: Any, sentence: str) -> None:
    monkeypatch.setattr(module, "likelihoods", None)
    with pytest.raises(EffaceError) as refused:
        probe(config(**changes))
    assert sentence in str(refused.value)
