"""What is refused before a sweep starts, and the jobs of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.sweep.dry_run import dry_run_sweep
from efface.sweep.plan import SweepPlan
from efface.sweep.sweep import sweep
from support.sweeps import Spec

MODEL = "model={target}"
"""A pair with the model of the target."""


@pytest.fixture
def forget_only(tmp_path: Path) -> dict[str, Any]:
    """Data without a retain set."""
    (tmp_path / "forget.jsonl").write_text('{"question": "Where is Ada?", "answer": "In Turku."}\n')
    return {"source": "files", "forget": str(tmp_path / "forget.jsonl")}


@pytest.mark.parametrize(
    ("changes", "pairs", "named"),
    [
        ({"settings": {"data": "forget_only"}}, [], ["method=me+gd seed=0: ", "needs a retain set"]),
        ({}, ["evaluate.judge=/nowhere"], ["evaluate.judge=/nowhere"]),
        ({"target": {"model": "/nowhere"}}, [], ["no folder /nowhere"]),
        ({"grid": {"method": ["me+gd", "ME+GD"]}}, [], ["grid: method=me+gd and method=ME+GD", "same run", "remove"]),
        ({"baselines": []}, [MODEL], ["target: ", "settings have a model", "remove one"]),
        ({"target": None, "baselines": ["retrained"]}, [MODEL], ["baselines: retrained", "forget set", "set target"]),
        ({"target": None}, [], ["method=me+gd seed=0: model is required", "model=MODEL"]),
    ],
)
def test_nothing_is_written_where_a_sweep_is_refused(
    spec: Spec,
    content: dict[str, Any],
    forget_only: dict[str, Any],
    tmp_path: Path,
    changes: dict[str, Any],
    pairs: list[str],
    named: list[str],
) -> None:
    out, model = tmp_path / "sweep", content["target"]["model"]
    changed = {key: content[key] | value if isinstance(value, dict) else value for key, value in changes.items()}
    if "settings" in changed:
        changed["settings"] = {**changed["settings"], "data": forget_only}
    if "grid" in changed:
        changed["grid"] = changes["grid"]
    refused = spec({**content, **changed}, *(pair.format(target=model) for pair in pairs))
    with pytest.raises(EffaceError) as error:
        sweep(refused, out)
    for each in named:
        assert each in str(error.value)
    with pytest.raises(EffaceError) as same:
        dry_run_sweep(refused, out, data_dir=None)
    assert str(same.value) == str(error.value)
    assert not out.exists()


def test_refused_folders(spec: Spec, content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EffaceError, match="file is a file; give a folder"):
        SweepPlan(spec(content), tmp_path / "file", None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(EffaceError, match=r"full is not empty and is not the folder of a sweep; choose another folder"):
        SweepPlan(spec(content), tmp_path / "full", None)


def test_jobs_of_a_plan(spec: Spec, content: dict[str, Any], tmp_path: Path) -> None:
    plan = SweepPlan(spec(content), tmp_path / "sweep", None)
    runs = plan.runs()
    assert [str(run.combination) for run in runs] == [
        f"method={method} seed={seed}" for method in ("me+gd", "ga+gd") for seed in (0, 1)
    ]
    assert plan.target is not None
    assert {run.job.config.model for run in runs} == {str(plan.target.model)}
    assert len({run.job.key for run in runs}) == 4
    assert len({run.group for run in runs}) == len({run.before_key for run in runs}) == 1
    assert {run.requests for run in runs} == {None}
    first = runs[0].job
    assert (first.state, first.existing) == ("to do", None)
    assert first.folder == tmp_path / "sweep" / "runs" / f"me+gd-{first.key[:12]}"
    retrained, random = plan.baselines(runs)
    assert (str(retrained), str(random)) == ("retrained", "random")
    assert retrained.source is not None
    assert retrained.source.config.without == "forget"
    assert retrained.job.config.model == str(retrained.source.model)
    assert (random.source, random.job.config.weights) == (None, "random")


def test_baselines_of_several_groups_are_named_by_what_distinguishes_them(
    spec: Spec, content: dict[str, Any], tmp_path: Path
) -> None:
    grid = {"method": ["me+gd", "ga+gd"], "evaluate.limit": [1, 2]}
    shared = {**content["settings"], "evaluate": {"embedder": "none", "judge": "key-facts", "max_new_tokens": 3}}
    plan = SweepPlan(spec({**content, "settings": shared, "grid": grid}), tmp_path / "sweep", None)
    assert [str(each) for each in plan.baselines(plan.runs())] == [
        f"{name} (evaluate.limit={limit})" for limit in (1, 2) for name in ("retrained", "random")
    ]
