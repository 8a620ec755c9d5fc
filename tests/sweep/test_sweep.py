"""A whole sweep: its folder, its table, and failures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.run.folder import RunFolder
from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told
from support.sweeps import Spec, read_log, read_results, started_runs


def test_folders_and_log(complete: tuple[Path, SweepResult, Told]) -> None:
    out, swept, reporter = complete
    assert {path.name for path in out.iterdir()} == {"runs", "targets", "baselines", "runs.jsonl", "table.json"}
    grid = [{"method": method, "seed": seed} for method in ("me+gd", "ga+gd") for seed in (0, 1)]
    assert started_runs(reporter) == [f"method={each['method']} seed={each['seed']}" for each in grid]
    log = read_log(out)
    assert [line["grid"] for line in log] == grid
    for line in log:
        folder = out / line["folder"]
        assert folder.name == f"{line['grid']['method']}-{line['key'][:12]}"
        found, manifest = read_results(folder), RunFolder(folder).read_manifest()
        assert line["status"] == "finished"
        after = found.after.model_dump()
        assert {name: line[name] for name in after} == after
        assert manifest is not None
        assert line["seconds"] == {**manifest.seconds, "all": pytest.approx(sum(manifest.seconds.values()), abs=1e-3)}
        assert line["settings"]["train"] == {"lr": 1e-3, "epochs": 1, "batch_size": 10, "warmup_steps": 0} | {
            "save_steps": 1
        }
    assert json.loads((out / "table.json").read_text()) == json.loads(json.dumps(swept.to_json()))
    assert swept.runs == log


def test_runs_keep_everything_except_their_models(complete: tuple[Path, SweepResult, Told]) -> None:
    out, _, _ = complete
    for run in (out / "runs").iterdir():
        assert {path.name for path in run.iterdir()} == {
            "config.yaml", "manifest.json", "metrics.jsonl", "records", "results.json",
        }  # fmt: skip
    assert all((target / "model").is_dir() for target in (out / "targets").iterdir())


def test_target_and_records_before_are_made_once(complete: tuple[Path, SweepResult, Told]) -> None:
    out, _, reporter = complete
    assert reporter.stages.count("evaluating before unlearning") == 1
    assert sorted(path.name.partition("-")[0] for path in (out / "targets").iterdir()) == ["retrained", "target"]
    assert sum(text.startswith("fine-tuning on 40 ") for text in reporter.stages) == 1
    (target,) = (out / "targets").glob("target-*")
    records = [(run / "records" / "before" / "forget.jsonl").read_bytes() for run in (out / "runs").iterdir()]
    assert len(records) == 4
    assert len(set(records)) == 1
    for run in (out / "runs").iterdir():
        assert yaml.safe_load((run / "config.yaml").read_text())["model"] == str(target / "model")


def test_warnings_are_reported_once(complete: tuple[Path, SweepResult, Told]) -> None:
    _, _, reporter = complete
    assert len(reporter.warnings) == len(set(reporter.warnings))
    assert any(text.startswith("cosine_similarity will be missing") for text in reporter.warnings)


def test_baselines_are_retrained_and_random_models(complete: tuple[Path, SweepResult, Told]) -> None:
    out, swept, reporter = complete
    assert sum(text.startswith("fine-tuning on 20 ") for text in reporter.stages) == 1  # two authors, one left out
    by_name = {path.name.partition("-")[0]: path for path in (out / "baselines").iterdir()}
    configs = {name: yaml.safe_load((path / "config.yaml").read_text()) for name, path in by_name.items()}
    assert configs["random"]["weights"] == "random"
    assert configs["retrained"]["weights"] == "stored"
    assert "/retrained-" in configs["retrained"]["model"]
    (group,) = swept.table.groups
    assert [row.baseline for row in group.rows] == ["before", "retrained", "random", None, None]
    for row in group.rows[1:3]:
        assert row.baseline is not None
        scores = json.loads((by_name[row.baseline] / "scores.json").read_text())
        assert row.partial is not None
        assert row.partial.forget_efficacy is not None
        assert row.partial.forget_efficacy.mean == scores["partial"]["forget_efficacy"]
    before = read_record_sets(out / read_log(out)[0]["folder"] / "records" / "before")
    compared = read_record_sets(by_name["random"] / "records")
    assert [record.id for record in compared["forget"]] == [record.id for record in before["forget"]]
    assert all(record.cosine_before is None for record in compared["forget"])  # there is no embedder


def test_table_is_over_the_seeds(complete: tuple[Path, SweepResult, Told]) -> None:
    out, swept, _ = complete
    (group,) = swept.table.groups
    for row in group.rows[3:]:
        numbers = [
            read_results(out / line["folder"]).after.partial.forget_efficacy
            for line in read_log(out)
            if line["grid"]["method"] == row.settings["method"]
        ]
        assert (row.n, row.seeds) == (2, [0, 1])
        assert row.partial is not None
        assert row.partial.forget_efficacy is not None
        first, second = (number or 0.0 for number in numbers)
        assert row.partial.forget_efficacy.mean == pytest.approx((first + second) / 2)
        assert row.partial.forget_efficacy.spread == pytest.approx(abs(first - second) / 2**0.5)
    assert swept.table.notes == []


def test_two_runs_at_once_are_the_same_runs(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], copied: Path
) -> None:
    shutil.rmtree(copied / "runs")
    (copied / "runs.jsonl").unlink()
    reporter = Told()
    swept = sweep(spec(content), copied, processes=2, reporter=reporter)
    assert swept.table == complete[1].table
    assert [line["key"] for line in swept.runs] == [line["key"] for line in complete[1].runs]
    assert {line["key"] for line in read_log(copied)} == {line["key"] for line in complete[1].runs}
    assert reporter.stages.count("evaluating before unlearning") == 1
    assert len(started_runs(reporter)) == 4
    assert len(reporter.warnings) == len(set(reporter.warnings))
    for line in swept.runs:
        for name in ("forget", "retain"):
            (written, expected) = ((out / line["folder"] / "records" / "after" / f"{name}.jsonl").read_bytes()
                                   for out in (copied, complete[0]))  # fmt: skip
            assert written == expected


def test_two_runs_at_once_of_which_one_fails(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    train = {key: value for key, value in settings["train"].items() if key != "lr"}
    content = {"settings": {**settings, "train": train}, "grid": {"train.lr": [1e30, 1e-3]}}
    swept = sweep(spec(content), tmp_path / "sweep", processes=2)
    assert [line["status"] for line in swept.runs] == ["failed", "finished"]
    assert "is not finite" in swept.runs[0]["error"]


def test_runs_on_a_gpu_are_not_at_once(spec: Spec, settings: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("efface.sweep.sweep.device_for", lambda _: torch.device("cuda"))
    with pytest.raises(EffaceError, match=r"--processes.*device=cpu"):
        sweep(spec({"settings": settings}), tmp_path / "sweep", processes=2)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_the_sweep_continues_after_a_failed_run(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out, reporter = tmp_path / "sweep", Told()
    train = {key: value for key, value in settings["train"].items() if key != "lr"}
    content = {"settings": {**settings, "train": train}, "grid": {"train.lr": [1e30, 1e-3], "seed": [0, 1]}}
    swept = sweep(spec(content), out, reporter=reporter)
    assert len(started_runs(reporter)) == 4
    assert reporter.stages.count("evaluating before unlearning") == 1  # by the first run, which then failed
    (group,) = swept.table.groups
    row = next(row for row in group.rows if row.settings.get("train.lr") == 1e30)
    assert (row.n, row.model_utility, row.partial, len(row.failed)) == (0, None, None, 2)
    assert row.failed[0].startswith("method=me+gd train.lr=1e+30 seed=0: step 2 of 2: me+gd is not finite")
    assert swept.table.failures == row.failed
    assert [line["status"] for line in read_log(out)] == ["failed", "failed", "finished", "finished"]
    assert read_log(out)[0]["error"] in row.failed[0]
    assert any(text.startswith("train.lr=1e+30 seed=0 failed: ") for text in reporter.warnings)
    reporter = Told()
    sweep(spec(content), out, reporter=reporter)
    assert started_runs(reporter) == ["train.lr=1e+30 seed=0", "train.lr=1e+30 seed=1"]
    assert len(read_log(out)) == 4


def test_the_sweep_continues_after_a_failed_baseline(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], copied: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EffaceError("too large")

    shutil.rmtree(copied / "baselines")
    shutil.rmtree(next((copied / "targets").glob("retrained-*")))
    monkeypatch.setattr("efface.sweep.sweep.finetune", refuse)
    reporter = Told()
    swept = sweep(spec(content), copied, reporter=reporter)
    assert swept.table.failures == ["retrained: too large"]
    assert "retrained failed: too large" in reporter.warnings
    rows = {row.baseline: row.n for row in swept.table.groups[0].rows}
    assert (rows["retrained"], rows["random"]) == (0, 1)


def test_baselines_need_a_run_with_records_before_unlearning(
    spec: Spec, settings: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EffaceError("too large")

    monkeypatch.setattr("efface.sweep.sweep.run_pipeline", refuse)
    swept = sweep(spec({"settings": settings, "baselines": ["random"]}), tmp_path / "sweep")
    assert swept.table.failures == [
        "random: no run of its group has records before unlearning; see why the runs failed",
        "method=me+gd: too large",
    ]


def test_keep_models(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    sweep(spec({"settings": settings, "keep_models": True}, "train.lora=true"), out)
    (run,) = (out / "runs").iterdir()
    assert (run / "model").is_dir()
    assert (run / "adapter").is_dir()
    sweep(spec({"settings": settings}, "train.lora=true"), out)
    assert (run / "model").is_dir()  # it was kept when it was made
    sweep(spec({"settings": settings}, "train.lora=true", "seed=1"), out)
    (other,) = set((out / "runs").iterdir()) - {run}
    assert not (other / "model").exists()
    assert not (other / "adapter").exists()
