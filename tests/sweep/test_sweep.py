"""A whole sweep: what it leaves, what it does not make again, and how it goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.artifacts import Results
from efface.errors import EffaceError
from efface.evaluation.folder import read_sets
from efface.run.folder import RunFolder
from efface.sweep.engine import Swept, sweep
from efface.sweep.outline import outline
from efface.sweep.spec import SweepSpec
from support.runs import Told

Spec = Callable[..., SweepSpec]


class DyingIn(Told):
    """Dies in a step of a run, as the process would."""

    def __init__(self, run: str, step: int) -> None:
        super().__init__()
        self.run, self.at = run, step

    def step(self, log: Any) -> None:
        here = [text for text in self.stages if text.startswith(("run ", "making "))]
        if here and self.run in here[-1] and log.step == self.at:
            raise KeyboardInterrupt


def made(told: Told) -> list[str]:
    """The runs that were made."""
    return [text.partition(": ")[2] for text in told.stages if text.startswith("run ")]


def trained(told: Told) -> int:
    return sum(text.startswith(("unlearning with", "fine-tuning on")) for text in told.stages)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


def results(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_bytes())


def single(settings: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A spec without a target."""
    grid = spec.get("grid", {})
    return {"settings": {key: value for key, value in settings.items() if key not in grid}, **spec}


# What it leaves


def test_folders_and_lines(complete: tuple[Path, Swept, Told]) -> None:
    out, swept, told = complete
    assert {path.name for path in out.iterdir()} == {"runs", "targets", "lines", "runs.jsonl", "table.json"}
    assert made(told) == [f"method={method} seed={seed}" for method in ("me+gd", "ga+gd") for seed in (0, 1)]
    found = lines(out)
    assert [line["grid"] for line in found] == [
        {"method": method, "seed": seed} for method in ("me+gd", "ga+gd") for seed in (0, 1)
    ]
    for line in found:
        folder = out / line["folder"]
        assert folder.name == f"{line['grid']['method']}-{line['key'][:12]}"
        whole, manifest = results(folder), RunFolder(folder).manifest()
        assert line["status"] == "finished"
        assert {name: line[name] for name in type(whole.after).model_fields} == whole.after.model_dump()
        assert manifest is not None
        assert line["seconds"] == {**manifest.seconds, "all": pytest.approx(sum(manifest.seconds.values()), abs=1e-3)}
        assert line["settings"]["train"] == {"lr": 1e-3, "epochs": 1, "batch_size": 10, "warmup_steps": 0} | {
            "checkpoint_every": 1
        }
    assert json.loads((out / "table.json").read_text()) == json.loads(json.dumps(swept.to_json()))
    assert swept.runs == found


def test_runs_keep_everything_but_their_models(complete: tuple[Path, Swept, Told]) -> None:
    out, _, _ = complete
    for run in (out / "runs").iterdir():
        assert {path.name for path in run.iterdir()} == {
            "config.yaml", "manifest.json", "metrics.jsonl", "records", "results.json",
        }  # fmt: skip
    assert all((target / "model").is_dir() for target in (out / "targets").iterdir())


def test_target_and_records_before_are_made_once(complete: tuple[Path, Swept, Told]) -> None:
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


def test_warnings_are_told_once(complete: tuple[Path, Swept, Told]) -> None:
    _, _, told = complete
    assert len(told.warnings) == len(set(told.warnings))
    assert any(text.startswith("cosine_similarity will be missing") for text in told.warnings)


def test_lines_are_models_without_the_forget_set_and_without_training(complete: tuple[Path, Swept, Told]) -> None:
    out, swept, told = complete
    assert sum(text.startswith("fine-tuning on 20 ") for text in told.stages) == 1  # two authors, one left out
    by_name = {path.name.partition("-")[0]: path for path in (out / "lines").iterdir()}
    configs = {name: yaml.safe_load((path / "config.yaml").read_text()) for name, path in by_name.items()}
    assert configs["random"]["weights"] == "random"
    assert configs["retrained"]["weights"] == "stored"
    assert "/retrained-" in configs["retrained"]["model"]
    (group,) = swept.table.groups
    assert [row.line for row in group.rows] == ["before", "retrained", "random", None, None]
    for row in group.rows[1:3]:
        assert row.line is not None
        scores = json.loads((by_name[row.line] / "scores.json").read_text())
        assert row.partial is not None
        assert row.partial.forget_efficacy is not None
        assert row.partial.forget_efficacy.mean == scores["partial"]["forget_efficacy"]
    before = read_sets(out / lines(out)[0]["folder"] / "records" / "before")
    compared = read_sets(by_name["random"] / "records")
    assert [record.id for record in compared["forget"]] == [record.id for record in before["forget"]]
    assert all(record.cosine_before is None for record in compared["forget"])  # no embedder: see below


def test_table_is_over_the_seeds(complete: tuple[Path, Swept, Told]) -> None:
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


# What is not made again


def test_all_of_it_is_found_in_a_folder_that_was_moved_and_renamed(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, Swept, Told], copied: Path
) -> None:
    (copied / "elsewhere").mkdir()
    for number, folder in enumerate(sorted((copied / "runs").iterdir())):
        folder.rename(copied / "elsewhere" / f"renamed {number}")
    for part in ("targets", "lines"):
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
    idle = ["device=auto", "train.token_budget=900", "train.checkpoint_every=2", "train.gradient_checkpointing=true"]
    sweep(spec(content, *idle, "evaluate.batch_tokens=999", "evaluate.token_budget=999"), copied, reporter=told)
    assert trained(told) == 0


def test_another_spec_shares_what_it_has_in_common(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    other = {**content, "grid": {"seed": [1], "method": ["idk+gd", "ga+gd"]}, "lines": []}
    told = Told()
    swept = sweep(spec(other), copied, reporter=told)
    assert made(told) == ["seed=1 method=idk+gd"]
    assert told.stages.count("evaluating before unlearning") == 0
    assert len(lines(copied)) == 5
    (group,) = swept.table.groups
    assert [(row.line, row.settings.get("method"), row.n) for row in group.rows] == [
        ("before", None, 1), (None, "idk+gd", 1), (None, "ga+gd", 1),
    ]  # fmt: skip


def test_another_target_lies_beside_the_first(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    other = {**content, "target": {**content["target"], "seed": 7}, "lines": [], "grid": {"method": ["ga+gd"]}}
    told = Told()
    sweep(spec(other), copied, reporter=told)
    assert len(list((copied / "targets").glob("target-*"))) == 2
    assert made(told) == ["method=ga+gd"]
    assert told.stages.count("evaluating before unlearning") == 1


def test_a_run_by_hand_counts_and_keeps_its_model(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    from efface.run.config import RunConfig
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


# How it goes on


def test_goes_on_inside_the_target_and_inside_a_run(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, Swept, Told], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content), out, reporter=DyingIn("target-", 3))
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content), out, reporter=DyingIn("seed=1", 1))
    (begun,) = [path for path in (out / "runs").iterdir() if not (path / "results.json").is_file()]
    assert len(lines(out)) == 1
    begun.rename(out / "half of one")
    told = Told()
    swept = sweep(spec(content, "train.checkpoint_every=2"), out, reporter=told)  # no other results: no other run
    assert made(told)[0] == "method=me+gd seed=1"
    assert len(made(told)) == 3
    assert "evaluating before unlearning" not in told.stages
    steps = [json.loads(line)["step"] for line in (out / "half of one" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2]
    manifest = RunFolder(out / "half of one").manifest()
    assert manifest is not None
    assert "resumed" in manifest.notes[0]
    assert swept.table == complete[1].table


def test_killed_before_its_model_was_removed_and_its_line_written(
    spec: Spec, settings: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    sweep(spec({"settings": settings, "keep_models": True}), out)
    (out / "runs.jsonl").write_text((out / "runs.jsonl").read_text()[:100])
    sweep(spec({"settings": settings}), out)
    (run,) = (out / "runs").iterdir()
    assert not (run / "model").exists()
    assert [line["status"] for line in lines(out)] == ["finished"]


def test_damaged_lines(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    whole, all_of_them = (copied / "runs.jsonl").read_text(), lines(copied)
    (copied / "runs.jsonl").write_text(whole[:-30])
    sweep(spec(content), copied)
    assert [line["key"] for line in lines(copied)] == [line["key"] for line in all_of_them]
    (copied / "runs.jsonl").write_text(whole.replace("{", "", 1))
    with pytest.raises(EffaceError, match=r"runs\.jsonl, line 1 is damaged; remove it, it will be written again"):
        sweep(spec(content), copied)


def test_half_an_evaluation_is_made_anew(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, Swept, Told], copied: Path
) -> None:
    (line,) = (copied / "lines").glob("random-*")
    (line / "scores.json").unlink()
    told = Told()
    assert sweep(spec(content), copied, reporter=told).table == complete[1].table
    assert sum(text.startswith("to compare with: random") for text in told.stages) == 1


def test_data_under_another_name_is_the_same(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    for name in ("forget", "retain"):
        rows = [{"question": f"Where is {name} {n}?", "answer": f"{n} is in Turku."} for n in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {name: str(tmp_path / f"{name}.jsonl") for name in ("forget", "retain")}
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec({"settings": {**settings, "data": data}}), out, reporter=DyingIn("run 1", 1))
    (tmp_path / "moved").mkdir()
    moved = {name: str(shutil.move(path, tmp_path / "moved" / f"my {name}.jsonl")) for name, path in data.items()}
    told = Told()
    sweep(spec({"settings": {**settings, "data": moved}}), out, reporter=told)
    assert made(told) == ["me+gd"]
    assert "evaluating before unlearning" not in told.stages
    assert len(list((out / "runs").iterdir())) == 1
    sweep(spec({"settings": {**settings, "data": {"forget": moved["retain"], "retain": moved["forget"]}}}), out)
    assert len(list((out / "runs").iterdir())) == 2


def test_own_answers_to_keep(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "forget.jsonl").write_text('{"question": "Where is Ada?", "answer": "In Turku."}\n')
    data = {"forget": str(tmp_path / "forget.jsonl"), "retain": "generated", "generic_questions": 8}
    content = {"settings": {**settings, "data": data}, "grid": {"seed": [0, 1]}}
    out, told = tmp_path / "sweep", Told()
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content, "train.epochs=2"), out, reporter=DyingIn("seed=1", 1))
    sweep(spec(content, "train.epochs=2"), out, reporter=told)
    assert made(told) == ["seed=1"]
    sweep(spec(content, "train.epochs=3"), out, reporter=told)
    assert made(told) == ["seed=1", "seed=0", "seed=1"]
    assert not any(text.startswith("answering") for text in told.stages)
    assert len({(run / "own_answers.jsonl").read_bytes() for run in (out / "runs").iterdir()}) == 1
    told = Told()
    sweep(spec(content, "train.epochs=2"), out, reporter=told)
    assert made(told) == []
    with pytest.raises(EffaceError, match=r"^lines: with data\.retain=generated a model is scored on its own answers"):
        sweep(spec({**content, "lines": ["random"]}), tmp_path / "other")


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
        "padding": {"data": {**settings["data"], "padding": "padding.jsonl"}},
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


# What fails


def test_a_run_that_fails_stops_nothing(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out, told = tmp_path / "sweep", Told()
    content = {"settings": settings, "grid": {"train.lr": [1e30, 1e-3], "seed": [0, 1]}}
    settings = settings | {"train": {key: value for key, value in settings["train"].items() if key != "lr"}}
    content["settings"] = settings
    swept = sweep(spec(content), out, reporter=told)
    assert len(made(told)) == 4
    assert told.stages.count("evaluating before unlearning") == 1  # by the first, which then failed
    (group,) = swept.table.groups
    row = next(row for row in group.rows if row.settings.get("train.lr") == 1e30)
    assert (row.n, row.model_utility, row.partial, len(row.failed)) == (0, None, None, 2)
    assert row.failed[0].startswith("method=me+gd train.lr=1e+30 seed=0: step 2 of 2: me+gd is not finite")
    assert swept.table.failures == row.failed
    assert [line["status"] for line in lines(out)] == ["failed", "failed", "finished", "finished"]
    assert lines(out)[0]["error"] in row.failed[0]
    assert any(text.startswith("train.lr=1e+30 seed=0 failed: ") for text in told.warnings)
    told = Told()
    sweep(spec(content), out, reporter=told)
    assert made(told) == ["train.lr=1e+30 seed=0", "train.lr=1e+30 seed=1"]
    assert len(lines(out)) == 4


def test_a_line_that_fails_stops_nothing(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, Swept, Told], copied: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EffaceError("no room")

    shutil.rmtree(copied / "lines")
    shutil.rmtree(next((copied / "targets").glob("retrained-*")))
    monkeypatch.setattr("efface.sweep.engine.finetune", refuse)
    told = Told()
    swept = sweep(spec(content), copied, reporter=told)
    assert swept.table.failures == ["retrained: no room"]
    assert "retrained failed: no room" in told.warnings
    rows = {row.line: row.n for row in swept.table.groups[0].rows}
    assert (rows["retrained"], rows["random"]) == (0, 1)


def test_lines_need_a_run_that_got_far_enough(
    spec: Spec, settings: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EffaceError("no room")

    monkeypatch.setattr("efface.sweep.engine.run_pipeline", refuse)
    swept = sweep(spec({"settings": settings, "lines": ["random"]}), tmp_path / "sweep")
    assert swept.table.failures == [
        "random: no run to compare with got as far as the records before unlearning; see why first",
        "method=me+gd: no room",
    ]


def test_nothing_is_written_where_something_is_refused(spec: Spec, content: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"

    def refused(changed: dict[str, Any], *pairs: str) -> str:
        with pytest.raises(EffaceError) as error:
            sweep(spec({**content, **changed}, *pairs), out)
        with pytest.raises(EffaceError) as same:
            outline(spec({**content, **changed}, *pairs), out, data_dir=None)
        assert str(same.value) == str(error.value)
        assert not out.exists()
        return str(error.value)

    files = {"source": "files", "forget": str(tmp_path / "forget.jsonl")}
    (tmp_path / "forget.jsonl").write_text('{"question": "Where is Ada?", "answer": "In Turku."}\n')
    assert "me+gd needs a retain set" in refused({"settings": {**content["settings"], "data": files}})
    assert refused({"settings": {**content["settings"], "data": files}}).startswith("method=me+gd seed=0: ")
    assert "evaluate.judge=/nowhere: there is no folder" in refused({}, "evaluate.judge=/nowhere")
    assert "there is no folder /nowhere" in refused({"target": {**content["target"], "model": "/nowhere"}})
    same = {"method": ["me+gd", "ME+GD"]}
    assert refused({"grid": same}) == "grid: method=me+gd and method=ME+GD are the same run; leave one of them out"
    unused = refused({"lines": []}, f"model={content['target']['model']}")
    assert unused == "target: nothing starts from it, for the settings name a model; leave one of them out"
    without = {"target": None, "lines": ["retrained"]}
    assert refused(without, f"model={content['target']['model']}") == (
        "lines: retrained is a target made without the forget set; say in target how to make it"
    )
    assert refused({"target": None}) == (
        "method=me+gd seed=0: model is required; give a folder or a name on the hub as model=MODEL"
    )


def test_folders_that_are_none(spec: Spec, content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EffaceError, match="file is a file; give a folder"):
        sweep(spec(content), tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(EffaceError, match="full is not empty and holds no sweep; choose another folder"):
        sweep(spec(content), tmp_path / "full")


# What it would do


def test_outline(spec: Spec, content: dict[str, Any], copied: Path, tmp_path: Path) -> None:
    fresh = outline(spec(content), tmp_path / "none", data_dir=None)
    assert not (tmp_path / "none").exists()
    assert fresh.target is not None
    assert fresh.target.state == "to make"
    assert [(run.what, run.state, run.folder) for run in fresh.runs][:2] == [
        ("method=me+gd seed=0", "to make", None),
        ("method=me+gd seed=1", "to make", None),
    ]
    assert fresh.counts() == {"to make": 4}
    (run, *_) = (copied / "runs").glob("me+gd-*")
    (run / "results.json").unlink()
    before = sorted(copied.rglob("*"))
    found = outline(spec(content), copied, data_dir=None)
    assert sorted(copied.rglob("*")) == before
    assert found.counts() in ({"done": 3, "begun": 1}, {"begun": 1, "done": 3})
    assert [line.what for line in found.lines] == ["retrained", "random"]
    assert {line.state for line in found.lines} == {"done"}
