"""What the doctor finds of a machine: packages, hub, benchmarks, judges, and bf16."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

from efface.errors import install_hint
from efface.preflight import machine
from efface.preflight.doctor import examine
from efface.preflight.machine import bf16_finding, inspect_machine
from support.doctor import look, of

pytestmark = pytest.mark.usefixtures("nothing_stays", "adamw8bit_available")


def test_a_machine_without_the_hub(hub, monkeypatch):
    hub.broken = True
    monkeypatch.setattr(machine, "offline_is_installed", lambda: False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = examine(None)
    assert found.problems == []
    assert of(found, "hub").level == "warning"
    assert "HTTP 503" in of(found, "hub").text
    assert "fetch it with: efface data fetch tofu" in of(found, "tofu").text
    assert "cosine_similarity will be missing" in of(found, "embedder").text
    assert "key-facts" in of(found, "judge").text
    assert found.machine.token
    assert "hf_secret" not in found.model_dump_json()
    assert found.machine.versions["torch"].startswith("2.")
    assert 0 < found.machine.memory_free <= found.machine.memory_total


def test_a_machine_with_the_hub(hub):
    for name in ("sentence-transformers/paraphrase-MiniLM-L6-v2", "sileod/deberta-v3-base-tasksource-nli"):
        hub.add(name, {"config.json": b"{}", "model.safetensors": b"x"})
    found = examine(None)
    assert [of(found, about).level for about in ("hub", "embedder", "judge")] == ["ok"] * 3
    assert "downloaded from the hub when first used" in of(found, "judge").text
    assert not found.machine.token


def test_benchmarks_on_this_machine(hub, shared):
    found = examine(shared / "data")
    assert of(found, "tofu").level == "ok"
    assert str(shared / "data") in of(found, "tofu").text


def test_a_package_that_is_not_installed(hub, monkeypatch):
    def version(package):
        if package == "bitsandbytes":
            raise machine.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(machine, "version", version)
    found = examine(None)
    assert of(found, "bitsandbytes").text.endswith(install_hint("quantized"))
    assert found.machine.versions["bitsandbytes"] is None
    assert found.machine.versions["peft"] == "1.0"


def test_every_extra_for_users_is_examined():
    """An extra that pyproject.toml gets is listed here, too, with all packages that no other extra has first."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {re.match(r"[\w-]+", package)[0] for package in packages}
        for extra, packages in project["optional-dependencies"].items()
        if extra not in ("dev", "docs")
    }
    examined = {extra: {each for each, (of, _) in machine.EXTRAS.items() if of == extra} for extra in extras}
    assert set().union(*extras.values()) == machine.EXTRAS.keys()
    for extra, packages in extras.items():
        assert examined[extra], extra
        assert examined[extra] <= packages


@pytest.mark.parametrize(("half", "recommended"), [(0.01, True), (0.018, False)])
def test_a_processor_that_is_faster_in_bf16(hub, config, monkeypatch, half, recommended):
    monkeypatch.setattr(machine, "_has_bf16", lambda: True)
    seconds = {torch.float32: 0.02, torch.bfloat16: half}
    monkeypatch.setattr(machine, "_matmul_seconds", seconds.__getitem__)
    texts = [finding.text for finding in look(config()).findings if finding.about == "precision"]
    assert len(texts) == recommended
    assert all("2.0 times as fast in bf16" in text and "train.precision=bf16" in text for text in texts)
    assert not any(finding.about == "precision" for finding in look(config(**{"train.precision": "bf16"})).findings)


def test_a_processor_without_bf16(monkeypatch):
    monkeypatch.setattr(machine, "_has_bf16", lambda: False)
    assert bf16_finding() is None


def test_an_embedder_that_is_not_installed_and_a_judge_that_cannot_be_reached(hub, config, monkeypatch):
    monkeypatch.setattr(machine, "offline_is_installed", lambda: False)
    hub.broken = True
    found = look(config(**{"evaluate.embedder": "offline", "evaluate.judge": "ada/judge"}))
    assert of(found, "embedder").text == f"evaluate.embedder=offline is not installed; {install_hint('offline')}"
    judge = of(found, "judge").text
    assert all(
        part in judge for part in ("evaluate.judge=ada/judge", "the hub cannot be reached", "another one, or none")
    )
    assert {each.about for each in found.problems} == {"embedder", "judge"}


@pytest.mark.parametrize("facts", [("Rome", "Oslo"), ("Rome", "")])
def test_key_facts_are_the_judge_as_in_a_run(hub, config, tmp_path, facts):
    hub.broken = True
    path, retain = tmp_path / "facts.csv", tmp_path / "retain.csv"
    rows = [f"Where is {n}?,In {fact or 'Bonn'}.,{fact}" for n, fact in enumerate(facts)]
    path.write_text("\n".join(["question,answer,key_fact", *rows, ""]))
    retain.write_text("question,answer\nWho wrote it?,Ada Byron did.\n")
    run = config(**{"data": {"forget": str(path), "retain": str(retain)}, "evaluate.judge": "default"})
    judge = of(look(run), "judge")
    assert (judge.level == "ok", "will be missing" in judge.text) == ((True, False) if all(facts) else (False, True))
    assert "key-facts" in judge.text


def test_judges_that_are_switched_off_are_fine(hub, config):
    found = look(config(**{"evaluate.judge": "none"}))
    assert of(found, "embedder").level == of(found, "judge").level == "ok"
    assert "entailment will be missing" in of(found, "judge").text


def test_flags_of_the_processor(monkeypatch):
    monkeypatch.setattr(machine, "cpuinfo", {"flags": "fpu bf16"}.get)
    assert machine._has_processor_flag(("amx", "bf16"))
    assert not machine._has_processor_flag(("bf",))


def test_this_machine():
    found = inspect_machine()
    assert found.threads == torch.get_num_threads()
    assert found.cores > 0
    assert found.processor
