"""The jobs that a dry run lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from efface.sweep.dry_run import dry_run_sweep
from support.sweeps import Spec


def test_states_of_all_jobs(spec: Spec, content: dict[str, Any], copied: Path, tmp_path: Path) -> None:
    fresh = dry_run_sweep(spec(content), tmp_path / "none", data_dir=None)
    assert not (tmp_path / "none").exists()
    assert fresh.target is not None
    assert fresh.target.state == "to do"
    assert [(run.name, run.state, run.folder) for run in fresh.runs][:2] == [
        ("method=me+gd seed=0", "to do", None),
        ("method=me+gd seed=1", "to do", None),
    ]
    assert fresh.counts() == {"to do": 4}
    (run, *_) = (copied / "runs").glob("me+gd-*")
    (run / "results.json").unlink()
    before = sorted(copied.rglob("*"))
    found = dry_run_sweep(spec(content), copied, data_dir=None)
    assert sorted(copied.rglob("*")) == before
    assert found.counts() in ({"done": 3, "started": 1}, {"started": 1, "done": 3})
    assert [each.name for each in found.baselines] == ["retrained", "random"]
    assert {each.state for each in found.baselines} == {"done"}
