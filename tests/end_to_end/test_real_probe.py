"""Finding what a real pretrained model knows, among facts that come with efface."""

from __future__ import annotations

import pytest

from efface.commands import probe as module
from efface.commands.probe import probe, write_probe
from efface.config.data_commands import ProbeConfig
from efface.data.sources.benchmarks.real_world import load_real_world
from efface.data.sources.known_facts import load_known_facts

pytestmark = pytest.mark.real

KNOWN = ("France", "Japan", "Egypt")
OBSCURE = ("Michelangelo", "Johannes Vermeer")


def test_smollm_knows_capitals_and_not_where_painters_were_born(real_models, tmp_path, monkeypatch):
    wanted = [f"fact/countries/{name}/capital" for name in KNOWN]
    wanted += [f"fact/people/{name}/birthplace" for name in OBSCURE]
    facts = load_known_facts()
    some = tuple(question for question in facts.questions if question.item.id in wanted)
    assert len(some) == len(wanted)
    monkeypatch.setattr(module, "load_known_facts", lambda: type(facts)(facts.source, facts.sha256, some))
    found = probe(ProbeConfig(model=str(real_models / "SmolLM2-135M-Instruct"), device="cpu"))
    kinds = found.report.kinds
    assert kinds["countries"].known == len(KNOWN)
    assert kinds["people"].known == 0
    assert kinds["people"].prefers_golden > 0  # the one alone would not do
    write_probe(found, tmp_path / "found")
    task = load_real_world(tmp_path / "found" / "real_world")
    sets = [task.forget, task.retain, task.evaluation[1].items]
    assert sorted(item.entity for items in sets for item in items) == sorted(KNOWN)
    for item in (item for items in sets for item in items):
        assert item.key_fact in item.answer
        assert item.golden_answer.endswith(f" {item.key_fact}.")
