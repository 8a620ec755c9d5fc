from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.artifacts import Results
from efface.auditing import attacks_on_model
from efface.auditing import audit as module
from efface.auditing.attacks import sample
from efface.auditing.audit import audit
from efface.auditing.config import AuditConfig
from efface.commands.verify import verify
from efface.config.parse import validate_config
from efface.data import load_task
from efface.errors import EffaceError
from efface.files.folder_lock import lock_folder
from efface.files.folders import RunPaths
from efface.hub import UnavailableError
from efface.schema import EvaluationSet, Item, Task
from support.audited import Broken, Whisper
from support.messages import assert_names


def config(**settings: Any) -> AuditConfig:
    plugins = settings.pop("plugins", ())
    return validate_config(AuditConfig, {"audit": settings, "plugins": plugins, "device": "cpu"})


ASKS = {"attacks": "ask-otherwise"}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in RunPaths(folder).audit_rows.read_text(encoding="utf-8").splitlines()]


def test_training_on_other_facts_finds_what_is_only_hidden(hidden_run: Path, never: Path) -> None:
    results = audit(config(attacks="relearn"), hidden_run, against=never)
    assert results.recoverable.n == 6
    assert results.recoverable.asked_plainly < 3
    assert results.recoverable.k >= 5
    assert results.control is not None
    assert results.control.k == 0
    assert results.excess is not None
    assert results.excess.interval[0] > 0


def test_the_results_join_the_run_and_it_stays_intact(hidden_run: Path, never: Path) -> None:
    results = audit(config(**ASKS), hidden_run, against=never)
    paths = RunPaths(hidden_run)
    assert verify(hidden_run).is_intact
    saved = Results.model_validate_json(paths.results.read_bytes())
    assert saved.audit == results
    assert json.loads(paths.audit_results.read_text(encoding="utf-8")) == results.model_dump(mode="json")
    assert list(results.model_dump()) == [
        "recoverable",
        "excess",
        "control",
        "attacks",
        "scalars",
        "level",
        "seeds",
        "seconds",
        "left_out",
    ]
    assert {(row["model"], row["attack"]) for row in rows_of(hidden_run)} >= {("after", "plain"), ("control", "plain")}
    assert not list(paths.audit.glob(".*"))
    assert paths.audit_rows.stat().st_mode & 0o077 == 0
    paths.audit_rows.write_text("", encoding="utf-8")
    assert verify(hidden_run).runs[0].differs == ("audit/rows.jsonl",)


def test_the_judge_is_the_one_that_the_run_fell_back_to(hidden_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> Path:
        raise UnavailableError(f"{name}: the hub cannot be reached")

    monkeypatch.setattr("efface.evaluation.judging.judges.resolve_model", unreachable)
    settings = RunPaths(hidden_run).config
    settings.write_text(settings.read_text().replace("judge: key-facts", "judge: default"))
    assert audit(config(**ASKS), hidden_run).recoverable.judge == "key-facts"


def test_without_a_control_guesses_are_not_subtracted(hidden_run: Path) -> None:
    results = audit(config(attacks="plain"), hidden_run)
    assert results.excess is results.control is None
    assert "control" in results.left_out
    assert results.recoverable.chance is not None
    assert results.attacks["plain"].control_rate is None


def test_the_holdout_set_of_the_run_is_what_is_unseen(hidden_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    membership = config(attacks="membership", level="standard")
    weak = audit(membership, hidden_run).scalars["membership"]
    assert weak["unseen_are_wrong_answers"] == 1
    held = tuple(Item(id=f"holdout/{n}", question=f"Where is {n}?", answer=f"In Place {n}.") for n in range(9))

    def with_holdout(*given: Any, **settings: Any) -> Task:
        task = load_task(*given, **settings)
        unseen = EvaluationSet(name="holdout", items=held, entailment_premise="output")
        return task.model_copy(update={"evaluation": (*task.evaluation, unseen)})

    monkeypatch.setattr(module, "load_task", with_holdout)
    assert "unseen_are_wrong_answers" not in audit(membership, hidden_run).scalars["membership"]


def test_elsewhere_the_run_stays_as_it_is(hidden_run: Path, tmp_path: Path) -> None:
    before = RunPaths(hidden_run).results.read_bytes()
    audit(config(**ASKS), hidden_run, out=tmp_path / "other")
    assert {path.name for path in (tmp_path / "other").glob("*.json*")} == {"rows.jsonl", "results.json"}
    assert RunPaths(hidden_run).results.read_bytes() == before
    assert not RunPaths(hidden_run).audit.exists()
    assert verify(hidden_run).is_intact


def test_what_was_done_before_a_kill_is_not_done_again(
    hidden_run: Path, never: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = audit(config(**ASKS), hidden_run, against=never, out=hidden_run.parent / "complete")
    run_part, done = attacks_on_model._run_part, list[str]()

    def killed(part: Any, subject: Any, *rest: Any) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(f"{subject.name} {part.unit.variant}")
        run_part(part, subject, *rest)

    monkeypatch.setattr(attacks_on_model, "_run_part", killed)
    with pytest.raises(KeyboardInterrupt):
        audit(config(**ASKS), hidden_run, against=never)
    assert verify(hidden_run).is_intact
    first = list(done)
    done.clear()
    monkeypatch.setattr(
        attacks_on_model,
        "_run_part",
        lambda part, subject, *rest: (
            done.append(f"{subject.name} {part.unit.variant}"),
            run_part(part, subject, *rest),
        )[1],
    )
    results = audit(config(**ASKS), hidden_run, against=never)
    assert {*first} & {*done} <= {"control in-context"}  # applies to no fact here, so it left no row
    assert results.recoverable == complete.recoverable
    assert {name: each.variants for name, each in results.attacks.items()} == {
        name: each.variants for name, each in complete.attacks.items()
    }


def test_hits_do_not_depend_on_the_batch(hidden_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sample._SAMPLES, "quick", 4)
    found = []
    for size in (None, 64):
        run = RunPaths(hidden_run)
        text = run.config.read_text(encoding="utf-8")
        run.config.write_text(text.replace("max_cache_tokens: null", f"max_cache_tokens: {size or 'null'}"))
        audit(config(attacks="ask-otherwise,sample"), hidden_run, out=hidden_run.parent / f"batch-{size}")
        lines = (hidden_run.parent / f"batch-{size}" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
        found.append([{**json.loads(line), "seconds": 0} for line in lines])
    assert found[0] == found[1]


def test_a_users_attack_counts_like_the_others(hidden_run: Path) -> None:
    results = audit(config(attacks="plain, whisper", plugins=[Whisper]), hidden_run)
    assert list(results.attacks) == ["plain", "whisper"]
    assert results.attacks["whisper"].rate == results.attacks["plain"].rate


def test_a_mistake_in_a_users_attack_is_said(hidden_run: Path) -> None:
    with pytest.raises(EffaceError) as error:
        audit(config(attacks="broken", plugins=[Broken]), hidden_run)
    assert_names(str(error.value), "broken", "ZeroDivisionError")
    assert verify(hidden_run).is_intact


def test_a_time_limit_leaves_out_the_same_for_both_models_and_says_so(hidden_run: Path, never: Path) -> None:
    results = audit(config(attacks="asks", minutes=1e-3), hidden_run, against=never)
    assert list(results.attacks) == ["plain"]
    assert "minutes" in results.left_out["ask-otherwise"]
    assert {row["attack"] for row in rows_of(hidden_run)} == {"plain"}


def test_a_folder_that_is_written_to_is_not_audited(hidden_run: Path) -> None:
    with lock_folder(hidden_run):
        pass
    (RunPaths(hidden_run).results).unlink()
    with pytest.raises(EffaceError) as error:
        audit(config(), hidden_run)
    assert_names(str(error.value), str(hidden_run), "not finished")


def test_an_unknown_attack_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(EffaceError) as error:
        audit(config(attacks="relern"), tmp_path)
    assert_names(str(error.value), "relern", "relearn", "audit.attacks")


def test_a_damaged_rows_file_is_refused(hidden_run: Path) -> None:
    paths = RunPaths(hidden_run)
    paths.audit.mkdir()
    paths.audit_rows.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(EffaceError) as error:
        audit(config(**ASKS), hidden_run)
    assert_names(str(error.value), str(paths.audit_rows))


def test_data_that_has_changed_since_the_run_is_refused(hidden_run: Path) -> None:
    manifest = RunPaths(hidden_run).manifest
    values = json.loads(manifest.read_text(encoding="utf-8"))
    name = next(name for name in values["data"] if "forget" in name)
    values["data"][name] = "0" * 64
    manifest.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(EffaceError) as error:
        audit(config(**ASKS), hidden_run)
    assert_names(str(error.value), name, "changed")


def test_an_attack_that_cannot_be_run_is_left_out_for_both(hidden_run: Path, never: Path) -> None:
    class TooLong(Whisper):
        name = "too-long"

        def run(self, subject: Any, facts: Any, unit: Any, context: Any) -> list[Any]:
            if subject.name == "after":
                raise EffaceError("the prompt is too long")
            return super().run(subject, facts, unit, context)

    results = audit(config(attacks="too-long", plugins=[TooLong]), hidden_run, against=never)
    assert list(results.attacks) == ["plain"]
    assert "too long" in results.left_out["too-long"]
