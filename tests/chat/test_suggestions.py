from __future__ import annotations

import json

from efface.chat.suggestions import suggested_questions
from efface.data.config import DataConfig
from efface.evaluation.record_files import write_record_sets
from efface.schema import Turn

NONE = DataConfig.model_validate({"source": "files", "forget": {"path": "gone.jsonl"}})


def grouped(questions):
    return {group: [each for each in questions if each.group == group] for group in ("forget", "retain", "general")}


def test_a_few_of_each_group_with_their_answers(tmp_path):
    data = DataConfig(source="synthetic-authors", authors=4, forget_authors=1, retain_evaluation=40)
    found = grouped(suggested_questions(data, tmp_path, None))
    assert {name: len(each) for name, each in found.items()} == {"forget": 8, "retain": 8, "general": 8}
    assert len({each.prompt.question for group in found.values() for each in group}) == 24
    assert all(each.answer for name in ("forget", "retain") for each in found[name])
    assert sum(each.answer is None for each in found["general"]) == 3


def test_questions_of_the_run_are_not_general_knowledge(tmp_path):
    [first, *_] = [each.prompt.question for each in suggested_questions(NONE, tmp_path, None)]
    (tmp_path / "forget.csv").write_text(f"question,answer\n{first},It is.\n")
    data = DataConfig.model_validate({"source": "files", "forget": {"path": str(tmp_path / "forget.csv")}})
    found = grouped(suggested_questions(data, tmp_path / "none", None))
    assert [each.prompt.question for each in found["forget"]] == [first]
    assert len(found["general"]) == 8
    assert first not in {each.prompt.question for each in found["general"]}


def test_a_conversation_keeps_its_earlier_turns(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ada."},
    ]
    (tmp_path / "forget.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    data = DataConfig.model_validate({"source": "files", "forget": {"path": str(tmp_path / "forget.jsonl")}})
    [only] = grouped(suggested_questions(data, tmp_path / "none", None))["forget"]
    assert (only.prompt.history, only.answer) == ((Turn(role="system", content="Be brief."),), "Ada.")


def test_records_replace_data_that_is_not_available(tmp_path, record):
    records = {name: [record(name, number) for number in range(10)] for name in ("forget", "retain", "world_facts")}
    write_record_sets(tmp_path, records)
    found = grouped(suggested_questions(NONE, tmp_path, None))
    assert [len(each) for each in found.values()] == [8, 8, 2 + 8]
    assert found["forget"][0].prompt.question == "forget question 0?"
    assert found["forget"][0].answer == "forget answer 0"
    assert found["forget"][-1].prompt.question == "forget question 8?"
    nothing = grouped(suggested_questions(NONE, tmp_path / "none", None))
    assert [len(each) for each in nothing.values()] == [0, 0, 8]
