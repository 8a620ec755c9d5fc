"""The model card: front matter that the hub reads, scores, hashes and settings."""

from __future__ import annotations

import operator
from functools import reduce
from pathlib import Path

import pytest
import yaml

from efface.artifacts import Downstream, DownstreamResults, ForgetVerdict, Share, TaskScore, Verdict
from efface.config.commands import RunConfig
from efface.config.parse import dotted_keys, merge_settings, nest_settings, validate_config
from efface.downstream.config import DownstreamConfig
from efface.run.metadata.model_card import write_card


@pytest.fixture
def card(tmp_path, settings, made, results):
    config = validate_config(RunConfig, settings)

    def write(value=0.875):
        write_card(tmp_path, config, made, results(value))
        assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
        return (tmp_path / "README.md").read_text(encoding="utf-8")

    write.config = config
    return write


def test_front_matter(card):
    _, head, body = card().split("---\n", 2)
    found = yaml.safe_load(head)
    assert found["library_name"] == "transformers"
    assert found["pipeline_tag"] == "text-generation"
    assert "machine-unlearning" in found["tags"]
    assert body.lstrip().startswith("# Unlearned with me+gd\n")


@pytest.mark.parametrize(
    ("model", "base"), [("some/model", "some/model"), ("some/model@v2", "some/model"), ("/home/ada/model", None)]
)
def test_the_card_names_the_hub_model_that_it_was_made_of(tmp_path, card, made, model, base):
    write_card(tmp_path, card.config, made.model_copy(update={"model": model}), None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(text.split("---\n", 2)[1]).get("base_model") == base
    assert "This model was not evaluated." in text


def test_no_folder_of_this_machine_is_in_the_card(tmp_path, settings, made):
    data = {"forget": "/home/ada/request/forget.jsonl", "retain": "kept/retain.csv"}
    config = validate_config(
        RunConfig, settings | {"data": data, **dict.fromkeys(("model", "tokenizer"), "/home/ada/model")}
    )
    names = ("/home/ada/request/forget.jsonl", "/home/bob/forget.jsonl", "kept/retain.csv")
    files = {name: digit * 64 for name, digit in zip(names, "xyz", strict=True)}
    write_card(tmp_path, config, made.model_copy(update={"model": "/home/ada/model", "data": files}), None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "/home" not in text
    assert "forget.jsonl" not in text
    assert "retain.csv" not in text
    assert text.count("- a file of the user (forget set)\n") == 2
    assert text.count("- a file of the user (retain set)\n") == 1
    for digest in files.values():  # texts of a few words can be guessed from it
        assert digest not in text
    assert "path: a file of the user" in text


def test_no_data_file_of_the_user_is_named(tmp_path, settings, made):
    """In a queue's settings, and in those that each request of it is run with."""
    keys = ("forget", "retain", "first", "extra_retain", "few_shot", "holdout", "refusals")
    files = {name: f"ada/{name}-bob.csv" for name in keys}
    data = {name: files[name] for name in keys if name != "first"}
    alone = {"data": {**data, "forgotten_before": [files["first"]]}, "reference": "/home/ada/target"}
    queue = {"data": data, "continual": {"requests": [files["forget"], {"path": files["first"]}]}}
    for changes in (alone, queue):
        config = validate_config(RunConfig, settings | {"model": "/home/ada/model"} | changes)
        sources = dict.fromkeys([*files.values(), "12 known facts"], "d" * 64)
        write_card(tmp_path, config, made.model_copy(update={"model": "/home/ada/model", "data": sources}), None)
        text = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert not any(each in text for each in ("ada", "bob", "d" * 64))
        assert "- a file of the user (few-shot examples)\n" in text
        assert "- 12 known facts\n" in text
        shown = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
        assert shown["data"]["refusals"] == shown["data"]["extra_retain"]["path"] == "a file of the user"
        if changes is alone:
            earlier = [each["path"] for each in shown["data"]["forgotten_before"]]
            assert (earlier, shown["reference"]) == (["a file of the user"], "target")
        else:
            assert [each["path"] for each in shown["continual"]["requests"]] == ["a file of the user"] * 2


def test_a_file_beside_a_benchmark_is_not_named_and_the_benchmark_keeps_its_hash(tmp_path, settings, made):
    data = {"source": "tofu", "split": "forget01", "extra_retain": "bob.jsonl"}
    sources = {"tofu/forget01.json": "a" * 64, "bob.jsonl": "e" * 64}
    write_card(
        tmp_path, validate_config(RunConfig, settings | {"data": data}), made.model_copy(update={"data": sources}), None
    )
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"- tofu/forget01.json: `{'a' * 64}`\n" in text
    assert "- a file of the user (extra retain set)\n" in text
    assert "bob" not in text
    assert "e" * 64 not in text


def test_tasks_and_hub_names_stay_as_they_are(tmp_path, settings, made):
    data = {"source": "tofu", "split": "forget01", "task": 3, "forgotten_before": [1, 2]}
    data["extra_retain"] = {"path": "hf:tatsu-lab/alpaca"}
    config = validate_config(RunConfig, settings | {"data": data, "reference": "locuslab/tofu_ft_llama2-7b"})
    write_card(tmp_path, config, made, None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert (shown["data"]["forgotten_before"], shown["reference"]) == ([1, 2], "locuslab/tofu_ft_llama2-7b")
    assert shown["data"]["extra_retain"]["path"] == "hf:tatsu-lab/alpaca"


def test_files_that_are_there_appear_by_name(tmp_path, settings, made, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugin = Path("private/clients/my.py")
    plugin.parent.mkdir(parents=True)
    plugin.write_text(
        "import efface\nclass M(efface.RecordMetric):\n    name = 'mine'\n    def score(self, record): ...\n"
    )
    data = {name: f"private/clients/{name}.jsonl" for name in ("forget", "retain")}
    for path in data.values():
        Path(path).touch()
    config = validate_config(RunConfig, settings | {"data": data, "plugins": [str(plugin)]})
    made = made.model_copy(update={"data": dict.fromkeys(data.values(), "a" * 64)})
    write_card(tmp_path, config, made, None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "private" not in text
    assert "forget.jsonl" not in text
    assert "- my.py:M" in text


def test_only_paths_are_cut(tmp_path, settings, made, monkeypatch):
    """Whatever else is written with a slash is no path, however long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Path("sub/dir").mkdir(parents=True)
    form = "/no_think {question}\n" + "Be careful. " * 40 + "Yes/no: {answer}"
    data = {"forget": {"path": "~/private/gone.csv", "columns": {"question": "sub/dir"}}, "retain": "/home/kept.csv"}
    config = validate_config(RunConfig, settings | {"text": {"format": form}, "data": data})
    write_card(tmp_path, config, made.model_copy(update={"data": {"~/private/gone.csv": "a" * 64}}), None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert shown["text"]["format"] == form
    assert (shown["data"]["forget"]["path"], shown["data"]["retain"]["path"]) == ("a file of the user",) * 2
    assert shown["data"]["forget"]["columns"]["question"] == "sub/dir"
    assert "private" not in text


def test_every_setting_that_takes_a_path_is_cut(tmp_path, settings, made):
    """Whatever its group. A new setting of one text is cut, or is named here and in the module as free text."""
    words, texts = {"method", "definition", "text.format"}, {"jensun.target", "train.parameters"}
    single = {key for key, annotation in dotted_keys(RunConfig).items() if annotation in (str, str | None)}
    keys = {key for key in single - words if not key.startswith(("data.", "continual."))}
    assert texts | {"evaluate.gibberish_detector", "reference", "downstream.include"} <= keys
    place = "/home/ada/places/det"
    given = nest_settings({**dict.fromkeys(keys, place), "evaluate.stop": place})
    config = validate_config(RunConfig, merge_settings(settings, given))
    write_card(tmp_path, config, made, None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert shown["evaluate"]["stop"] == [place]
    for key in keys:
        found = reduce(operator.getitem, key.split("."), shown)
        assert found == (place if key in texts else "det"), key


def test_a_model_from_memory_and_an_adapter(tmp_path, card, made):
    folder = tmp_path / "run" / "adapter"
    folder.mkdir(parents=True)
    made = made.model_copy(update={"model": str(tmp_path / "run" / "before")})
    write_card(folder, card.config, made, None, library="peft")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "library_name: peft\n" in text
    assert f"A model in memory (sha256 `{made.model_sha256}`) after unlearning with" in text
    assert "This is the LoRA adapter alone: load it onto that model with PEFT." in text


def test_downstream_tasks(tmp_path, card, made, results):
    def scores(value):
        task = TaskScore(metric="acc_norm", value=value, standard_error=None, n=32, num_fewshot=0)
        return Downstream(lm_eval="0.4.13", average=value, tasks={"arc_challenge": task})

    found = results(0.5)
    found.downstream = DownstreamResults(before=scores(0.75), after=scores(0.625))
    settings = card.config.model_copy(update={"downstream": DownstreamConfig(include="/home/ada/tasks")})
    write_card(tmp_path, settings, made, found)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| forget efficacy | 0.2500 | 0.5000 |\n| downstream tasks, average | 0.7500 | 0.6250 |\n" in text
    assert "\n\nDownstream tasks, by lm-evaluation-harness 0.4.13:\n\n| task | metric |" in text
    assert "|\n| arc_challenge (32) | acc_norm | 0.7500 | 0.6250 |\n\n| set |" in text
    assert "include: tasks\n" in text


def test_custom_metrics(tmp_path, card, made, results):
    found = results(0.5)
    for scores in found.after.sets.values():
        scores.custom.update(declines=0.25, broken=None)
    write_card(tmp_path, card.config, made, found)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| set | broken | declines |" in text
    assert "| forget (7) | missing | 0.2500 |" in text


def test_scores_before_and_after(card):
    text = card()
    assert "Definition `paper`; embeddings: none; judge: key-facts." in text
    assert "| model utility | 0.2500 | 0.8750 |" in text
    assert "| model utility (retain) | 0.2500 | 0.8750 |" in text
    assert "| forget efficacy | 0.2500 | 0.8750 |" in text
    assert "| forget (7) |" + " 0.8750 |" * 6 in text
    assert "| retain (7) |" + " 0.8750 |" * 6 in text
    assert "Missing" not in text
    assert "artial" not in text
    assert "ownstream" not in text.partition("## Settings")[0]


def test_missing_metrics_are_missing_in_the_table_alone(card):
    text = card(None)
    assert "| model utility, partial | 0.2500 | missing |" in text
    assert "no embedder" not in text


def test_partial_aggregates_where_metrics_are_missing(tmp_path, card, made, results):
    """Data of one's own seldom has wrong answers: then these are all there are."""
    found = results(None)
    found.after.partial = found.after.partial.model_copy(update={"forget_efficacy": 0.75, "metrics": ["rouge"]})
    write_card(tmp_path, card.config, made, found)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| forget efficacy, partial | 0.2500 | 0.7500 |" in text
    assert "| model utility (retain), partial | 0.2500 | missing |" in text
    assert "\nPartial: over rouge alone, the metrics that all sets have.\n\n| set |" in text


def test_words_that_decided_are_said(tmp_path, card, made, results):
    found = results(0.875)
    none = Share(count=0, n=7, low=0.0, high=0.35)
    forget = ForgetVerdict(state="forgot", known_before=7, leaks=none, likely=none)
    for by_words in (0, 7):
        judged = forget.model_copy(update={"by_words": by_words})
        found.verdict = Verdict(forget=judged, retain=None, answers_before={}, answers_after={})
        write_card(tmp_path, card.config, made, found)
        text = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert ("Judged by words alone" in text) is bool(by_words)


def test_hashes_and_settings(card, made):
    text = card()
    assert f"`{made.model}` (sha256 `{made.model_sha256}`)" in text
    assert f"- forget01.json: `{made.data['forget01.json']}`" in text
    block = text.split("```yaml\n")[1].split("```")[0]
    expected = card.config.model_copy(update={"model": Path(card.config.model).name})
    assert validate_config(RunConfig, yaml.safe_load(block)) == expected
    assert "{{" not in text
    assert "{%" not in text
