"""What a sweep does not make again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told
from support.sweeps import Spec, lines, made, trained


def test_all_of_it_is_found_in_a_folder_that_was_moved_and_renamed(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], copied: Path
) -> None:
    (copied / "elsewhere").mkdir()
    for number, folder in enumerate(sorted((copied / "runs").iterdir())):
        folder.rename(copied / "elsewhere" / f"renamed {number}")
    for part in ("targets", "baselines"):
        for folder in (copied / part).iterdir():
            folder.rename(copied / f"other {part} {folder.name[:6]}")
    told = Told()
    again = sweep(spec(content), copied, reporter=told)
    assert (made(told), trained(told)) == ([], 0)
    assert again.table == complete[1].table
    assert lines(copied) == lines(complete[0])
    (copied / "runs.jsonl").unlink()
    assert sweep(spec(content), copied, reporter=told).table == complete[1].table
    assert trained(told) == 0
    assert {line["folder"] for line in lines(copied)} == {f"elsewhere/renamed {number}" for number in range(4)}


def test_what_changes_no_result_makes_nothing_again(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    told = Told()
    idle = [
        "device=auto",
        "train.max_tokens_per_forward=900",
        "train.save_steps=2",
        "train.gradient_checkpointing=true",
    ]
    sweep(
        spec(content, *idle, "evaluate.max_cache_tokens=999", "evaluate.max_tokens_per_forward=999"),
        copied,
        reporter=told,
    )
    assert trained(told) == 0


def test_another_spec_shares_what_it_has_in_common(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    other = {**content, "grid": {"seed": [1], "method": ["idk+gd", "ga+gd"]}, "baselines": []}
    told = Told()
    swept = sweep(spec(other), copied, reporter=told)
    assert made(told) == ["seed=1 method=idk+gd"]
    assert told.stages.count("evaluating before unlearning") == 0
    assert len(lines(copied)) == 5
    (group,) = swept.table.groups
    assert [(row.baseline, row.settings.get("method"), row.n) for row in group.rows] == [
        ("before", None, 1), (None, "idk+gd", 1), (None, "ga+gd", 1),
    ]  # fmt: skip


def test_another_target_lies_beside_the_first(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    other = {**content, "target": {**content["target"], "seed": 7}, "baselines": [], "grid": {"method": ["ga+gd"]}}
    told = Told()
    sweep(spec(other), copied, reporter=told)
    assert len(list((copied / "targets").glob("target-*"))) == 2
    assert made(told) == ["method=ga+gd"]
    assert told.stages.count("evaluating before unlearning") == 1


def test_a_run_by_hand_counts_and_keeps_its_model(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    from efface.config.commands import RunConfig
    from efface.run.pipeline import run

    out = tmp_path / "sweep"
    run(RunConfig.model_validate(settings), out / "runs" / "by hand")
    told = Told()
    sweep(spec({"settings": settings}), out, reporter=told)
    assert made(told) == []
    assert (out / "runs" / "by hand" / "model").is_dir()
    assert [line["folder"] for line in lines(out)] == ["runs/by hand"]


def test_keep_models(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    sweep(spec({"settings": settings, "keep_models": True}, "train.lora=true"), out)
    (run,) = (out / "runs").iterdir()
    assert (run / "model").is_dir()
    assert (run / "adapter").is_dir()
    sweep(spec({"settings": settings}, "train.lora=true"), out)
    assert (run / "model").is_dir()  # it was asked for when it was made
    sweep(spec({"settings": settings}, "train.lora=true", "seed=1"), out)
    (other,) = set((out / "runs").iterdir()) - {run}
    assert not (other / "model").exists()
    assert not (other / "adapter").exists()


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


def test_every_kind_of_run_is_found_again(
    spec: Spec, settings: dict[str, Any], base: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """The key that a run is planned under is that of what it leaves."""
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
        told = Told()
        sweep(spec({"settings": {**settings, **changes}}), Path("all"), reporter=told)
        assert len(made(told)) == 1, kind
        before = told.stages.count("evaluating before unlearning")
        assert before == (0 if kind == "reference" else 1), kind
        sweep(spec({"settings": {**settings, **changes}}), Path("all"), reporter=told)
        assert len(made(told)) == 1, kind
    Path("mine.py").rename("ours.py")
    sweep(spec({"settings": {**settings, "plugins": "ours.py", "method": "ascent+gd"}}), Path("all"), reporter=told)
    assert len(made(told)) == 1
    Path("ours.py").write_text(f"{PLUGINS}# changed")
    sweep(spec({"settings": {**settings, "plugins": "ours.py", "method": "ascent+gd"}}), Path("all"), reporter=told)
    assert len(made(told)) == 2
