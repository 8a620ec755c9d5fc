"""The page as text: complete, safe, without requests, small. Its behavior is tested in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.records import Record
from efface.report.page.html import render_page
from efface.report.page.load_run import load_report_run
from support.messages import assert_names
from support.reports import (
    correct,
    decompress,
    page_questions,
    record,
    records,
    start_run,
    write_evaluation,
    write_example_run,
    write_queue,
    write_run,
    write_steps,
    write_watched,
)

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028"


class Elements(HTMLParser):
    """The elements that a browser would parse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.within: dict[str, list[str]] = {"script": [], "style": []}
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.within:
            self.within[tag].append("")

    def handle_data(self, data: str) -> None:
        last = self.tags[-1][0] if self.tags else ""
        if last in self.within and self.cdata_elem:
            self.within[last][-1] += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def shown(*paths: Path) -> Elements:
    return Elements(render_page([load_report_run(path) for path in paths], version="1.2.3"))


def data(found: Elements) -> Any:
    return json.loads(found.within["script"][0])


def test_it_makes_no_requests_and_runs_no_other_code(tmp_path: Path) -> None:
    found = shown(write_example_run(tmp_path))
    [policy] = [
        attributes["content"] or ""
        for tag, attributes in found.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    code = [*found.within["script"][1:], *found.within["style"]]
    assert len(code) == 3
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in code]
    assert re.findall(r"'sha256-[^']+'", policy) == hashes
    urls = [value for _, each in found.tags for name, value in each.items() if name in ("src", "href", "action")]
    assert set(urls) == {"data:,", "#main"}
    assert not any(name.startswith("on") or name == "style" for _, each in found.tags for name in each)
    assert "sourceMappingURL" not in "".join(code)
    assert "url(" not in "".join(found.within["style"])


def test_the_numbers_of_a_run(tmp_path: Path) -> None:
    run = load_report_run(write_example_run(tmp_path / "first"))
    assert run.before is not None
    assert run.after is not None
    found = shown(tmp_path / "first")
    for number in (run.before.forget_efficacy, run.after.forget_efficacy, run.after.sets["retain"].rouge):
        assert f"{number:.3f}" in found.text
    assert (
        "It forgot in part: of 10 questions to forget, it answered 10 correctly before and 2 after (20 %, 95 % "
        "interval 6 to 51 %). These are only 10 questions" in found.text
    )
    assert "Still leaks (2)" in found.text
    assert "Broken (3)" in found.text
    assert "No score is missing." in found.text
    assert re.search(r"Next: .*efface tune searches", found.text)
    assert f"efface run '{tmp_path}/first/config.yaml'".replace("'", "") in found.text
    assert "efface run tofu-forget01 method=me+gd --out 'runs/a run'" in found.text
    assert "closer-look" in found.text
    assert "key-facts" in found.text
    assert "Unfinished" not in found.text
    assert "role=tab" not in str(found.tags)
    scatter = data(found)["scatter"]
    assert [each["label"] for each in scatter[0]["points"]] == ["before", "epoch 1", "epoch 2", "after"]
    assert data(found)["runs"][0]["curves"]["forget"][:2] == [2.0, 1.0]


def test_every_question_is_included(tmp_path: Path) -> None:
    found = data(shown(write_example_run(tmp_path)))["runs"][0]["questions"]
    rows = page_questions(found)
    assert len(rows) == found["count"] == 30
    assert decompress(found["index"])["verdict"][:5] == ["leaks"] * 2 + ["broken"] * 3
    broken = rows[2]
    assert broken[:4] == ["retain/001", "Where was author 1 born?", *["Author 1 was born in Town 1."] * 2]
    assert broken[4] == "Author 1 never told anybody, which is a pity for their many readers."
    assert len(broken[5]) == len(broken[6]) == 6


def test_hostile_text_is_text(tmp_path: Path) -> None:
    def hostile(number: int) -> str:
        return HOSTILE

    before, after = records(forget=(3, correct), retain=(3, correct)), records(forget=(3, hostile), retain=(3, correct))
    after["retain"][0] = Record(**{**record("retain", 1, HOSTILE).model_dump(), "question": HOSTILE})
    path = write_run(tmp_path / "<img src=x onerror=alert(1)>", before, after)
    (path / "config.yaml").write_text(yaml.safe_dump({"definition": "closer-look", "method": HOSTILE}))
    found = shown(path, write_example_run(tmp_path / "other"))
    assert [tag for tag, _ in found.tags if tag == "img"] == []
    assert len(found.within["script"]) == 3
    questions = data(found)["runs"][0]["questions"]
    rows = zip(decompress(questions["index"])["set"], page_questions(questions), strict=True)
    assert [row[4] for name, row in rows if name == "forget"] == [HOSTILE] * 3


def test_a_thousand_questions_are_small(tmp_path: Path) -> None:
    def long(number: int) -> str:
        return " ".join(f"{number * 7919 + place * 104729:x}" for place in range(40))

    def longer(number: int) -> str:
        return " ".join(f"{number * 7919 + place * 15485863:x}" for place in range(40))

    sets = {"forget": (400, long), "retain": (600, long)}
    path = write_run(tmp_path, records(**sets), records(**{name: (count, longer) for name, (count, _) in sets.items()}))
    text = render_page([load_report_run(path)], version="1.2.3")
    assert json.loads(Elements(text).within["script"][0])["runs"][0]["questions"]["count"] == 1000
    assert len(text.encode()) < 1e6


def test_an_unfinished_run_is_marked(tmp_path: Path) -> None:
    start_run(tmp_path)
    write_steps(tmp_path, 3, steps=9)
    found = shown(tmp_path)
    assert "Unfinished. The last optimizer step was 3 of 9" in found.text
    assert "not yet" in found.text
    assert "No set has been scored yet." in found.text


def test_missing_metrics_and_partial_scores(tmp_path: Path) -> None:
    sets = records(forget=(3, correct), retain=(3, correct))
    without = {
        name: [each.model_copy(update={"judge": None, "entailment_label": None}) for each in rows]
        for name, rows in sets.items()
    }
    found = shown(write_run(tmp_path, without, without))
    assert "Partial scores." in found.text
    assert "over rouge, probability, truth ratio, token entropy, cosine similarity only" in found.text
    assert "there is no label of a judge" in found.text
    assert data(found)["scatter"][0]["points"]


def test_several_runs_are_compared_and_have_a_tab_each(tmp_path: Path) -> None:
    found = shown(
        write_example_run(tmp_path / "one"), write_evaluation(tmp_path / "retrained"), write_queue(tmp_path / "queue")
    )
    assert "Runs side by side" in found.text
    tabs = [each for tag, each in found.tags if each.get("role") == "tab"]
    panels = [each for tag, each in found.tags if each.get("role") == "tabpanel"]
    assert [each["aria-controls"] for each in tabs] == [each["id"] for each in panels] == ["run-0", "run-1", "run-2"]
    assert [each["name"] for each in data(found)["scatter"]] == ["one", "retrained", "queue"]


def test_runs_of_one_name_are_distinguished(tmp_path: Path) -> None:
    paths = [write_example_run(tmp_path / each / "run") for each in ("a", "b")]
    assert [each["name"] for each in data(shown(*paths))["scatter"]] == [str(path) for path in paths]


def test_the_heat_map_of_a_queue(tmp_path: Path) -> None:
    found = shown(write_queue(tmp_path))
    cells = [(each.get("class") or "") for tag, each in found.tags if tag == "td"]
    assert cells.count("none") == 1
    assert cells.count("heat-8") == 2  # 0.773, right after each request
    assert cells.count("heat-10") == 6  # utility
    assert "1: first <b>" in found.text
    assert "No score is missing." in found.text


def test_watched_epochs_are_charts_and_a_table(tmp_path: Path) -> None:
    folder = write_example_run(tmp_path / "run")
    assert "Answers and refusals in training" not in shown(folder).text
    write_watched(folder, 5, 10)
    found = shown(folder)
    canvases = [each for tag, each in found.tags if tag == "canvas"]
    assert [sum(name in each for each in canvases) for name in ("data-watched", "data-weight")] == [1, 1]
    assert data(found)["runs"][0]["watched"]["ap_weight"] == [0.125, 0.25, 0.375]
    for text in ("Answers and refusals in training", "epoch 2", "-2.500"):
        assert text in found.text


def test_notes_on_scores_are_shown(tmp_path: Path) -> None:
    assert "token entropy on" in " ".join(shown(write_evaluation(tmp_path)).text.split())


def test_a_run_with_a_bound_says_where_it_ended(tmp_path: Path) -> None:
    run = write_example_run(tmp_path)
    assert "keep=" not in shown(run).text.split("Question by question")[0]
    path = run / "results.json"
    results = json.loads(path.read_text())
    keep = {"keep": 0.9, "step": 0, "stopped_after": 3, "steps": 6, "reason": "bound", "kept": 1, "kept_at_least": 1}
    path.write_text(json.dumps(results | {"keep": keep}))
    (run / "manifest.json").unlink(missing_ok=True)
    text = shown(run).text.split("Question by question")[0]
    assert_names(text, "keep=0.9", "step 3 of 6", "the model is the one before unlearning", "efface tune")


def test_no_home_folder_is_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_example_run(tmp_path / "a")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest.update(command=["efface", "run", "--out", "/home/ada/a"], model=f"{tmp_path}/models/x", files=None)
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "reference: /home/margaret/model\n")
    text = render_page([load_report_run(run)], version="1")
    found = [
        text[max(0, at.start() - 60) : at.end() + 20] for at in re.finditer(f"{tmp_path}|/home/|/ada/|margaret", text)
    ]
    assert found == []
    assert_names(text, "efface run --out ~/a", "models/x", "reference: ~/model")


def test_everything_has_a_name_for_screen_readers(tmp_path: Path) -> None:
    found = shown(write_example_run(tmp_path / "one"), write_example_run(tmp_path / "two"))
    for tag, each in found.tags:
        if tag == "canvas":
            assert each["role"] == "img"
            assert each["aria-label"]
        if tag == "th":
            assert each["scope"] in ("col", "row")
        if tag == "button":
            assert each["type"] == "button"
    assert any(each.get("aria-live") == "polite" for _, each in found.tags)
    assert len([tag for tag, _ in found.tags if tag == "caption"]) == len([t for t, _ in found.tags if t == "table"])
    ids = [each["id"] for _, each in found.tags if "id" in each]
    assert len(ids) == len(set(ids))
    named = {each["aria-labelledby"] for _, each in found.tags if "aria-labelledby" in each}
    assert named <= set(ids)
