"""A whole sweep: what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from efface.evaluation.record_files import read_record_sets
from efface.run.folder import RunFolder
from efface.sweep.sweep import SweepResult
from support.runs import Told
from support.sweeps import lines, made, results


def test_folders_and_lines(complete: tuple[Path, SweepResult, Told]) -> None:
    out, swept, told = complete
    assert {path.name for path in out.iterdir()} == {"runs", "targets", "baselines", "runs.jsonl", "table.json"}
    assert made(told) == [f"method={method} seed={seed}" for method in ("me+gd", "ga+gd") for seed in (0, 1)]
    found = lines(out)
    assert [line["grid"] for line in found] == [
        {"method": method, "seed": seed} for method in ("me+gd", "ga+gd") for seed in (0, 1)
    ]
    for line in found:
        folder = out / line["folder"]
        assert folder.name == f"{line['grid']['method']}-{line['key'][:12]}"
        whole, manifest = results(folder), RunFolder(folder).read_manifest()
        assert line["status"] == "finished"
        assert {name: line[name] for name in type(whole.after).model_fields} == whole.after.model_dump()
        assert manifest is not None
        assert line["seconds"] == {**manifest.seconds, "all": pytest.approx(sum(manifest.seconds.values()), abs=1e-3)}
        assert line["settings"]["train"] == {"lr": 1e-3, "epochs": 1, "batch_size": 10, "warmup_steps": 0} | {
            "save_steps": 1
        }
    assert json.loads((out / "table.json").read_text()) == json.loads(json.dumps(swept.to_json()))
    assert swept.runs == found


def test_runs_keep_everything_but_their_models(complete: tuple[Path, SweepResult, Told]) -> None:
    out, _, _ = complete
    for run in (out / "runs").iterdir():
        assert {path.name for path in run.iterdir()} == {
            "config.yaml", "manifest.json", "metrics.jsonl", "records", "results.json",
        }  # fmt: skip
    assert all((target / "model").is_dir() for target in (out / "targets").iterdir())


def test_target_and_records_before_are_made_once(complete: tuple[Path, SweepResult, Told]) -> None:
    out, _, told = complete
    assert told.stages.count("evaluating before unlearning") == 1
    assert sorted(path.name.partition("-")[0] for path in (out / "targets").iterdir()) == ["retrained", "target"]
    assert sum(text.startswith("fine-tuning on 40 ") for text in told.stages) == 1
    (target,) = (out / "targets").glob("target-*")
    records = [(run / "records" / "before" / "forget.jsonl").read_bytes() for run in (out / "runs").iterdir()]
    assert len(records) == 4
    assert len(set(records)) == 1
    for run in (out / "runs").iterdir():
        assert yaml.safe_load((run / "config.yaml").read_text())["model"] == str(target / "model")


def test_warnings_are_told_once(complete: tuple[Path, SweepResult, Told]) -> None:
    _, _, told = complete
    assert len(told.warnings) == len(set(told.warnings))
    assert any(text.startswith("cosine_similarity will be missing") for text in told.warnings)


def test_lines_are_models_without_the_forget_set_and_without_training(complete: tuple[Path, SweepResult, Told]) -> None:
    out, swept, told = complete
    assert sum(text.startswith("fine-tuning on 20 ") for text in told.stages) == 1  # two authors, one left out
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
    before = read_record_sets(out / lines(out)[0]["folder"] / "records" / "before")
    compared = read_record_sets(by_name["random"] / "records")
    assert [record.id for record in compared["forget"]] == [record.id for record in before["forget"]]
    assert all(record.cosine_before is None for record in compared["forget"])  # no embedder: see below


def test_table_is_over_the_seeds(complete: tuple[Path, SweepResult, Told]) -> None:
    out, swept, _ = complete
    (group,) = swept.table.groups
    for row in group.rows[3:]:
        numbers = [
            results(out / line["folder"]).after.partial.forget_efficacy
            for line in lines(out)
            if line["grid"]["method"] == row.settings["method"]
        ]
        assert (row.n, row.seeds) == (2, [0, 1])
        assert row.partial is not None
        assert row.partial.forget_efficacy is not None
        first, second = (number or 0.0 for number in numbers)
        assert row.partial.forget_efficacy.mean == pytest.approx((first + second) / 2)
        assert row.partial.forget_efficacy.spread == pytest.approx(abs(first - second) / 2**0.5)
    assert swept.table.notes == []
