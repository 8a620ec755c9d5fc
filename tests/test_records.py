"""Records are read as they were written, and what is damaged is named."""

from __future__ import annotations

import json

import pytest

from efface.errors import EffaceError
from efface.records import Record, read_records, stream_records, write_records

RECORD = Record(
    set="forget",
    id="f/1",
    question="Who?",
    answer="Ada.",
    output="Éva\u2028b\r\n\x85c.",
    output_token_ids=[4, 5],
    answer_logprobs=[-0.5, -1.0],
    paraphrased_logprobs=None,
    perturbed_logprobs=[],
    embedding_target="Ada.",
    embedder=None,
    cosine_answer=None,
    cosine_before=None,
    entailment_target="Ada.",
    entailment_premise="output",
    judge=None,
    entailment_label=None,
    missing={"entailment": "switched off"},
)


def test_records_are_read_as_written(tmp_path):
    path = tmp_path / "records" / "forget.jsonl"
    records = [RECORD, RECORD.model_copy(update={"id": "f/2"})]
    write_records(path, records)
    assert read_records(path) == records
    assert path.read_bytes().count(b"\n") == 2


def test_streaming_reads_line_by_line(tmp_path):
    path = tmp_path / "forget.jsonl"
    path.write_text(RECORD.model_dump_json() + "\nbroken\n", encoding="utf-8")
    records = stream_records(path)
    assert next(records) == RECORD
    with pytest.raises(EffaceError, match="line 2"):
        next(records)


def changed(**values):
    return json.dumps({**json.loads(RECORD.model_dump_json()), **values}).encode()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "no records"),
        (changed() + b"\n{}", r"line 2: .*set"),
        (changed(n=1), r"line 1: .*n: "),
        (changed(output_token_ids=["4"]), r"line 1: .*output_token_ids\.0"),
        (b"\xff\xfe", "line 1: .*JSON"),
        (None, "cannot read"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, named):
    path = tmp_path / "forget.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        EffaceError, match=rf"forget\.jsonl.*{named}.*; run the evaluation again|{named}.*forget\.jsonl"
    ):
        read_records(path)


def test_records_of_earlier_versions_do_not_say_what_is_predicted(tmp_path):
    path = tmp_path / "forget.jsonl"
    line = RECORD.model_dump_json(exclude={"answer_predicted"})
    assert "answer_predicted" not in line
    path.write_text(line + "\n", encoding="utf-8")
    assert read_records(path) == [RECORD]
