"""Records on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.artifacts import Record, read_records, stream_records, write_records
from efface.errors import EffaceError


def record(id_: str) -> Record:
    return Record(
        set="retain",
        id=id_,
        question="Who?",
        answer="A poet.",
        output="a\u2028b\r\n\x85c",
        output_token_ids=[3, 4],
        answer_logprobs=[-0.1],
        paraphrased_logprobs=None,
        perturbed_logprobs=[],
        embedding_target="A poet.",
        embedder=None,
        cosine_answer=None,
        cosine_before=None,
        entailment_target="A poet.",
        entailment_premise="output",
        judge=None,
        entailment_label=None,
    )


def test_written_records_are_read_back(tmp_path: Path) -> None:
    path, records = tmp_path / "retain.jsonl", [record(str(number)) for number in range(3)]
    write_records(path, records)
    assert list(stream_records(path)) == read_records(path) == records


@pytest.mark.parametrize("content", [b"\xff", None])
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "retain.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EffaceError, match=r"cannot read records .*retain\.jsonl: .*; run the evaluation again"):
        list(stream_records(path))
