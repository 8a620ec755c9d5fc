"""What a sweep finds in its folder and does not do again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from efface.config.commands import RunConfig
from efface.run.pipeline import run as run_pipeline
from efface.sweep.index import SweepIndex
from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told
from support.sweeps import Spec, count_trainings, read_log, started_runs


def test_everything_is_found_after_moving_and_renaming(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], copied: Path
) -> None:
    (copied / "elsewhere").mkdir()
    for number, folder in enumerate(sorted((copied / "runs").iterdir())):
        folder.rename(copied / "elsewhere" / f"renamed {number}")
    for part in ("targets", "baselines"):
        for folder in (copied / part).iterdir():
            folder.rename(copied / f"other {part} {folder.name[:6]}")
    reporter = Told()
    again = sweep(spec(content), copied, reporter=reporter)
    assert (started_runs(reporter), count_trainings(reporter)) == ([], 0)
    assert again.table == complete[1].table
    assert read_log(copied) == read_log(complete[0])
    (copied / "runs.jsonl").unlink()
    assert sweep(spec(content), copied, reporter=reporter).table == complete[1].table
    assert count_trainings(reporter) == 0
    assert {line["folder"] for line in read_log(copied)} == {f"elsewhere/renamed {number}" for number in range(4)}


def test_settings_without_effect_start_nothing(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    reporter = Told()
    without_effect = [
        "device=auto",
        "train.max_tokens_per_forward=900",
        "train.save_steps=2",
        "train.gradient_checkpointing=true",
    ]
    sweep(
        spec(content, *without_effect, "evaluate.max_cache_tokens=999", "evaluate.max_tokens_per_forward=999"),
        copied,
        reporter=reporter,
    )
    assert count_trainings(reporter) == 0


def test_another_spec_shares_runs(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    other = {**content, "grid": {"seed": [1], "method": ["idk+gd", "ga+gd"]}, "baselines": []}
    reporter = Told()
    swept = sweep(spec(other), copied, reporter=reporter)
    assert started_runs(reporter) == ["seed=1 method=idk+gd"]
    assert reporter.stages.count("evaluating before unlearning") == 0
    assert len(read_log(copied)) == 5
    (group,) = swept.table.groups
    assert [(row.baseline, row.settings.get("method"), row.n) for row in group.rows] == [
        ("before", None, 1), (None, "idk+gd", 1), (None, "ga+gd", 1),
    ]  # fmt: skip


def test_another_target_is_added(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    other = {**content, "target": {**content["target"], "seed": 7}, "baselines": [], "grid": {"method": ["ga+gd"]}}
    reporter = Told()
    sweep(spec(other), copied, reporter=reporter)
    assert len(list((copied / "targets").glob("target-*"))) == 2
    assert started_runs(reporter) == ["method=ga+gd"]
    assert reporter.stages.count("evaluating before unlearning") == 1


def test_a_run_of_efface_run_is_found_and_keeps_its_model(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    run_pipeline(RunConfig.model_validate(settings), out / "runs" / "by hand")
    reporter = Told()
    sweep(spec({"settings": settings}), out, reporter=reporter)
    assert started_runs(reporter) == []
    assert (out / "runs" / "by hand" / "model").is_dir()
    assert [line["folder"] for line in read_log(out)] == ["runs/by hand"]


PLUGINS = """
import efface

class Ascent(efface.ForgetObjective):
    name = "ascent"

    def term(self, config):
        return efface.TokenTerm("forget", lambda logp_N: logp_N)

class Length(efface.RecordMetric):
    name = "length"

    def score(self, record):
        return float(len(record.output))
"""


def test_planned_keys_are_those_of_complete_runs(
    spec: Spec, settings: dict[str, Any], base: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """With plug-ins, a separate reference model and extra retain data."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PLUGINS)
    Path("padding.jsonl").write_text(
        "".join(json.dumps({"question": f"{n}?", "answer": "Yes."}) + "\n" for n in range(9))
    )
    kinds: dict[str, dict[str, Any]] = {
        "plug-ins": {"plugins": "mine.py", "method": "ascent+gd"},
        "reference": {"method": "npo+gd", "reference": str(base)},
        "extra_retain": {"data": {**settings["data"], "extra_retain": "padding.jsonl"}},
    }
    for kind, changes in kinds.items():
        reporter = Told()
        sweep(spec({"settings": {**settings, **changes}}), Path("all"), reporter=reporter)
        assert len(started_runs(reporter)) == 1, kind
        before = reporter.stages.count("evaluating before unlearning")
        assert before == (0 if kind == "reference" else 1), kind
        sweep(spec({"settings": {**settings, **changes}}), Path("all"), reporter=reporter)
        assert len(started_runs(reporter)) == 1, kind
    Path("mine.py").rename("ours.py")
    sweep(spec({"settings": {**settings, "plugins": "ours.py", "method": "ascent+gd"}}), Path("all"), reporter=reporter)
    assert len(started_runs(reporter)) == 1
    Path("ours.py").write_text(f"{PLUGINS}# changed")
    sweep(spec({"settings": {**settings, "plugins": "ours.py", "method": "ascent+gd"}}), Path("all"), reporter=reporter)
    assert len(started_runs(reporter)) == 2


def test_folders_that_are_not_of_jobs_are_ignored(complete: tuple[Path, SweepResult, Told], tmp_path: Path) -> None:
    index = SweepIndex(complete[0])
    (tmp_path / "config.yaml").write_text("method: [")
    assert index.add(tmp_path) is None
    assert index.add(tmp_path / "missing") is None
    run = next((complete[0] / "runs").iterdir())
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    assert index.add(tmp_path / "run") is None


def test_a_complete_copy_is_preferred(copied: Path) -> None:
    run = next((copied / "runs").iterdir())
    other = copied / "another"
    shutil.copytree(run, other)
    (run / "results.json").unlink()
    found = SweepIndex(copied)
    added = found.add(other)
    assert added is not None
    assert found.find(added.key) == added
    assert (added.path, added.done) == (other, True)
    assert found.find("0" * 64) is None


def test_records_before_unlearning_are_found_by_their_sets(complete: tuple[Path, SweepResult, Told]) -> None:
    index = SweepIndex(complete[0])
    run = index.add(next((complete[0] / "runs").iterdir()))
    assert run is not None
    before = index.find_before(run.before_key, ["forget"])
    assert before is not None
    assert before.has_records("before")
    assert index.find_before(run.before_key, ["forget", "other"]) is None
    assert index.find_before("0" * 64, ["forget"]) is None
    assert index.find_downstream("0" * 64) is None
