"""Records of a run's models: made once, and read where they are on disk."""

from __future__ import annotations

import shutil

import pytest
import torch

from efface.evaluation.config import EvaluateConfig
from efface.evaluation.judging.judges import open_judges
from efface.models.load import load_model
from efface.models.tokenizer import load_tokenizer
from efface.run import evaluation_stages
from efface.run.evaluation_stages import EvaluationStages
from efface.run.folder import RunFolder
from efface.run.metadata.metadata import RunMetadata
from efface.schema import EvaluationSet, Item
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from efface.train.distribution.parallel import ParallelModel
from support.answered import answered
from support.runs import Told

CPU = torch.device("cpu")
CONFIG = EvaluateConfig(embedder="none", judge="key-facts", max_new_tokens=2)


class Snapshots:
    """Of two epochs; writes down which one is rebuilt."""

    last = 2

    def __init__(self, folder, source):
        self.folder, self.source, self.rebuilt = folder, source, []

    def rebuild(self, epoch, folder):
        self.rebuilt.append(epoch)
        shutil.copytree(self.source, folder)


@pytest.fixture
def reporter():
    return Told()


@pytest.fixture
def stages(tmp_path, source, made, reporter):
    """The stages of a run whose unlearned model is the source."""
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    folder.model.symlink_to(source)
    item = Item(id="forget/0", question="Who?", answer="Ann.", key_fact="Ann")
    return EvaluationStages(
        folder=folder,
        sets=(EvaluationSet(name="forget", items=(item,), entailment_premise="output"),),
        config=CONFIG,
        judges=open_judges(CONFIG, CPU),
        formatter=PromptFormatter(load_tokenizer(source), TextConfig(format="plain")),
        device=CPU,
        dtype=torch.float32,
        metadata=RunMetadata(folder, CONFIG, made.model_copy(update={"seconds": {}})),
        reporter=reporter,
    )


@pytest.fixture
def model(source):
    return load_model(source, dtype=torch.float32, device=CPU)


def test_each_stage_makes_its_records_once(stages, model, reporter, source, monkeypatch):
    snapshots = Snapshots(stages.folder.epoch_snapshots, source)

    def all_stages():
        before = stages.before(ParallelModel(model), None)
        epochs = [stages.after_epoch(epoch, before, snapshots) for epoch in (1, 2)]
        return [before, *epochs, stages.after(before)]

    first = all_stages()
    assert [each["forget"][0].id for each in first] == ["forget/0"] * 4
    assert snapshots.rebuilt == [1]  # the last epoch's model is the unlearned one
    assert not (snapshots.folder / "model").exists()
    names = ["evaluate before", "evaluate after epoch 1", "evaluate after epoch 2", "evaluate after"]
    assert list(stages.folder.read_manifest().seconds) == names
    monkeypatch.setattr(evaluation_stages, "evaluate", None)
    monkeypatch.setattr(evaluation_stages, "load_to_evaluate", None)
    reporter.stages.clear()
    assert all_stages() == first
    assert [stage.split(" already: ")[0] for stage in reporter.stages] == [
        "evaluated before unlearning",
        "evaluated after epoch 1",
        "evaluated after epoch 2",
        "evaluated after unlearning",
    ]


def test_questions_are_encoded_once_for_all_models(stages, model, monkeypatch):
    encode, calls = stages.formatter.encode, []
    monkeypatch.setattr(stages.formatter, "encode", lambda items: calls.append(items) or encode(items))
    stages.check(model)
    stages.after(stages.before(ParallelModel(model), None))
    assert [[id_ for id_, _, _ in items] for items in calls] == [["forget/0"]]


def test_given_records_are_written_and_the_run_is_started(stages, monkeypatch):
    monkeypatch.setattr(evaluation_stages, "evaluate", None)
    given = answered(0, n=1, names=("forget",))
    assert stages.before(None, given) == given
    assert stages.folder.read_records("before", ["forget"]) == given
    assert stages.folder.read_manifest().seconds == {}
