from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets, write_record_sets
from efface.records import Record


def record(set_: str, id_: str) -> Record:
    return Record(
        set=set_,
        id=id_,
        question="Who?",
        answer="A poet.",
        output="A\u2028poet.\n",
        output_token_ids=[3, 4],
        answer_logprobs=[-0.1, -1e-9],
        paraphrased_logprobs=None,
        perturbed_logprobs=[[-3.0]],
        embedding_target="A poet.",
        embedder=None,
        cosine_answer=None,
        cosine_before=None,
        entailment_target="A poet.",
        entailment_premise="output",
        judge="key-facts",
        entailment_label="neutral",
        missing={"cosine_similarity": "why"},
    )


RECORDS = {"forget": [record("forget", "2"), record("forget", "1")], "retain": [record("retain", "9")]}


def test_written_records_are_read_back(tmp_path):
    folder = tmp_path / "records" / "after"
    write_record_sets(folder, RECORDS)
    write_record_sets(folder, RECORDS)
    assert sorted(path.name for path in folder.iterdir()) == ["forget.jsonl", "retain.jsonl"]
    assert read_record_sets(folder) == RECORDS


def test_records_of_other_sets_are_not_mixed_in(tmp_path):
    write_record_sets(tmp_path, {"world_facts": [record("world_facts", "1")]})
    with pytest.raises(EffaceError, match=r"other sets \(world_facts.jsonl\); remove them"):
        write_record_sets(tmp_path, RECORDS)


@pytest.mark.parametrize(
    ("files", "named"), [({}, r"no records in .*; run the evaluation"), ({"retain": "{"}, r"retain.jsonl, line 1")]
)
def test_folders_without_readable_records_are_refused(tmp_path, files, named):
    for name, text in files.items():
        write_record_sets(tmp_path, RECORDS)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(EffaceError, match=named):
        read_record_sets(tmp_path)
