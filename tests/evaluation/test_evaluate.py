from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import encode_questions
from efface.evaluation.evaluate import check_before_records, evaluate
from efface.evaluation.generate import generate
from efface.evaluation.judging.judges import Judges, open_judges
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.evaluation.judging.nli_judge import EntailmentVerdict
from efface.evaluation.likelihoods import likelihoods
from efface.evaluation.record_files import read_record_sets
from efface.schema import EvaluationSet, Item, Prompt
from efface.scores import score_records
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from support import evaluated
from support.processes import run_group

FORGET = EvaluationSet(
    name="forget",
    entailment_premise="output",
    items=(
        Item(
            id="f/2",
            question="Who wrote the long book about rivers?",
            answer="A poet wrote it.",
            paraphrased_answer="It was a poet.",
            perturbed_answers=("A farmer.", "The king."),
            key_fact="poet",
        ),
        Item(id="f/1", question="Who?", answer="In short, nobody.", golden_answer="Nobody."),
    ),
)
WORLD = EvaluationSet(
    name="world_facts",
    entailment_premise="answer",
    items=(
        Item(
            id="w/1",
            question="Where is the tower?",
            answer="Paris",
            original_answer="The tower is in Paris.",
            perturbed_answers=("Rome",),
        ),
    ),
)
CONFIG = EvaluateConfig(max_new_tokens=6)


class Recorder:
    """An embedder and a judge that only record their arguments."""

    name = "recorder"

    def __init__(self) -> None:
        self.pairs: list[Any] = []
        self.claims: list[Any] = []

    def cosines(self, texts, *others):
        self.pairs += [(list(texts), list(each)) for each in others]
        return [[0.25] * len(texts) for _ in others]

    def verdicts(self, claims, journal=None, progress=None):
        self.claims.extend(claims)
        return [EntailmentVerdict("neutral")] * len(claims)


def run(model, formatter, *, before=None, judges=None, config=CONFIG, **more):
    judges = judges or Judges(None, None, {"cosine_similarity": "no embedder", "entailment": "no judge"})
    return evaluate(model, formatter, [FORGET, WORLD], config=config, judges=judges, before=before, **more)


def test_records_hold_outputs_and_likelihoods(model, formatter):
    records = run(model, formatter)
    assert {name: [record.id for record in rows] for name, rows in records.items()} == {
        "forget": ["f/2", "f/1"],
        "world_facts": ["w/1"],
    }
    for set_ in (FORGET, WORLD):
        for item, record in zip(set_.items, records[set_.name], strict=True):
            (generation,) = generate(model, formatter, [item.prompt], max_new_tokens=6, max_cache_tokens=1000)
            (expected,) = likelihoods(model, encode_questions(formatter, [item]), max_tokens_per_forward=1000)
            assert record.set == set_.name
            assert record.question == item.question
            assert record.answer == item.scored_answer
            assert (record.output, record.output_token_ids) == (generation.text, generation.token_ids)
            again = formatter.tokenizer.convert_tokens_to_ids(formatter.tokenizer.tokenize(record.output))
            assert record.retokenized_output_ids == again
            assert record.answer_logprobs == pytest.approx(expected.answer, abs=1e-5)
            assert (record.paraphrased_logprobs is None) == (item.paraphrased_answer is None)
            assert [len(row) for row in record.perturbed_logprobs] == [len(row) for row in expected.perturbed]
            assert record.embedding_target == item.embedding_target
            assert record.entailment_target == item.entailment_target
            assert record.entailment_premise == set_.entailment_premise


def test_records_say_which_tokens_of_the_answer_are_predicted(model, formatter):
    passage = Item(id="p", question="The river", answer=" flows to the sea.", passage=True)
    question = Item(id="q", question="Who?", answer="In short, nobody.")
    items = EvaluationSet(name="forget", entailment_premise="output", items=(passage, question))
    judges = Judges(None, None, {"cosine_similarity": "no embedder", "entailment": "no judge"})
    records = evaluate(model, formatter, [items], config=CONFIG, judges=judges, before=None)["forget"]
    for item, record in zip((passage, question), records, strict=True):
        [[sequence]] = [each.answers for each in encode_questions(formatter, [item])]
        with torch.no_grad():
            likeliest = model(torch.tensor([sequence.ids])).logits[0].argmax(dim=-1)[sequence.prompt_length - 1 : -1]
        expected = [each == true for each, true in zip(likeliest.tolist(), sequence.answer, strict=True)]
        assert record.answer_predicted == (expected if item.passage else expected[:-1])


def test_missing_metrics_have_a_reason(model, formatter):
    first, second = run(model, formatter)["forget"]
    assert first.missing == {"cosine_similarity": "no embedder", "entailment": "no judge"}
    assert second.missing == {**first.missing, "truth_ratio": "the question has no perturbed answers"}
    assert (first.embedder, first.cosine_answer, first.cosine_before) == (None, None, None)
    assert (first.judge, first.entailment_label) == (None, None)


class LengthDetector:
    """A gibberish detector that finds short texts readable, and remembers how much of each it was to read."""

    name = "toy detector"

    def __init__(self) -> None:
        self.limits: list[int] = []

    def probabilities(self, texts, max_tokens):
        self.limits += max_tokens
        return [1 / (1 + len(text)) for text in texts]


def test_outputs_are_checked_for_gibberish(model, formatter):
    reasons: Any = {"cosine_similarity": "no embedder", "entailment": "no judge"}
    text = Item(id="t/1", question="The river", answer=" flows.", passage=True)
    asked, silent = (
        EvaluationSet(name=name, items=(text,), entailment_premise="output", max_new_tokens=limit)
        for name, limit in (("retain", 4), ("members", 0))
    )
    detector: Any = LengthDetector()

    def evaluated(judges: Judges) -> Any:
        return evaluate(model, formatter, [FORGET, asked, silent], config=CONFIG, judges=judges, before=None)

    records = evaluated(Judges(None, None, reasons, gibberish_detector=detector))
    assert detector.limits == [32, 32, 512]  # open-unlearning's, of questions and of texts
    for record in (*records["forget"], *records["retain"]):
        assert (record.gibberish_detector, record.not_gibberish) == ("toy detector", 1 / (1 + len(record.output)))
    assert records["members"][0].not_gibberish is None
    missing = evaluated(Judges(None, None, {**reasons, "not_gibberish": "no hub"}))
    assert [missing[name][0].missing.get("not_gibberish") for name in ("forget", "members")] == ["no hub", None]


def test_texts_of_a_set_that_is_not_asked_have_likelihoods_alone(model, formatter):
    text = Item(id="m/1", question="", answer="The tower is in Paris.", passage=True)
    members = EvaluationSet(
        name="members", items=(text,), entailment_premise="output", max_new_tokens=0, extra_metrics=("min_k",)
    )
    recorder = Recorder()
    records = evaluate(
        model,
        formatter,
        [FORGET, members],
        config=CONFIG,
        judges=Judges(recorder, recorder, {}),
        before={"forget": run(model, formatter)["forget"], "members": run_members(model, formatter, members)},
    )
    (record,) = records["members"]
    assert (record.output, record.output_token_ids, record.extra_metrics) == ("", [], ["min_k"])
    assert record.missing.keys() == {"truth_ratio", "rouge", "token_entropy", "cosine_similarity", "entailment"}
    (expected,) = likelihoods(model, encode_questions(formatter, [text]), max_tokens_per_forward=1000)
    assert record.answer_logprobs == pytest.approx(expected.answer, abs=1e-5)
    assert (record.cosine_answer, record.cosine_before, record.entailment_label) == (None, None, None)
    assert len(recorder.claims) == len(FORGET.items)
    assert records["forget"][0].extra_metrics == []


def run_members(model, formatter, members):
    judges = Judges(None, None, {"cosine_similarity": "no embedder", "entailment": "no judge"})
    return evaluate(model, formatter, [members], config=CONFIG, judges=judges, before=None)["members"]


def test_a_question_without_key_fact_is_not_judged_by_key_facts(model, formatter):
    judges = Judges(None, KeyFactJudge(), {"cosine_similarity": "no embedder"})
    first, second = run(model, formatter, judges=judges)["forget"]
    assert (first.judge, first.entailment_label) == ("key-facts", "neutral")
    assert "entailment" not in first.missing
    assert (second.judge, second.entailment_label) == ("key-facts", None)
    assert "no key fact" in second.missing["entailment"]


def test_judges_get_the_right_texts(model, formatter):
    recorder = Recorder()
    before = run(model, formatter, judges=Judges(recorder, recorder))
    outputs = [record.output for rows in before.values() for record in rows]
    assert recorder.pairs == [(outputs, ["A poet wrote it.", "In short, nobody.", "The tower is in Paris."])]
    assert [(claim.output, claim.target, claim.key_fact, claim.premise) for claim in recorder.claims] == [
        (outputs[0], "A poet wrote it.", "poet", "output"),
        (outputs[1], "Nobody.", None, "output"),
        (outputs[2], "The tower is in Paris.", None, "answer"),
    ]
    record = before["forget"][0]
    assert (record.embedder, record.cosine_answer, record.cosine_before) == ("recorder", 0.25, 1.0)
    assert (record.judge, record.entailment_label, record.missing) == ("recorder", "neutral", {})


def test_a_set_may_be_judged_by_key_facts_alone(model, formatter):
    facts = FORGET.model_copy(update={"name": "known_facts", "items": FORGET.items[:1], "key_facts_only": True})
    recorder, without = Recorder(), Judges(None, None, {"cosine_similarity": "no embedder", "entailment": "no judge"})
    for judges, names in ((Judges(recorder, recorder), ["recorder", "key-facts"]), (without, [None, "key-facts"])):
        records = evaluate(model, formatter, [WORLD, facts], config=CONFIG, judges=judges, before=None)
        found = [records[name][0] for name in ("world_facts", "known_facts")]
        assert [each.judge for each in found] == names
        assert found[1].entailment_label == ("entailment" if "poet" in found[1].output else "neutral")
        assert "entailment" not in found[1].missing
        assert score_records(records, "closer-look").judge == names[0]
    assert len(recorder.claims) == 1


def test_outputs_are_compared_with_those_before(model, formatter):
    before = run(model, formatter)
    with torch.no_grad():
        model.lm_head.weight.neg_()
    recorder = Recorder()
    shuffled = {"world_facts": before["world_facts"], "forget": before["forget"][::-1]}
    after = run(model, formatter, judges=Judges(recorder, recorder), before=shuffled)
    texts = [[record.output for rows in records.values() for record in rows] for records in (after, before)]
    assert texts[0] != texts[1]
    assert recorder.pairs[1] == (texts[0], texts[1])
    assert after["forget"][0].cosine_before == 0.25


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (lambda records: records[:1], ["not include question 'f/1'", "set 'forget'", "evaluate.limit"]),
        (  # ids of user files are line numbers: records of another file have the same ones
            lambda records: [records[0], records[1].model_copy(update={"question": "Another?"})],
            ["other texts for question 'f/1'", "set 'forget'"],
        ),
    ],
    ids=["missing", "of another question"],
)
def test_records_before_must_be_of_the_same_questions(model, formatter, changed, named):
    before = run(model, formatter)
    before["forget"] = changed(before["forget"])
    with pytest.raises(EffaceError) as error:
        run(model, formatter, before=before)
    assert all(part in str(error.value) for part in named)
    with pytest.raises(EffaceError) as checked:
        check_before_records([FORGET, WORLD], before, CONFIG)
    assert str(checked.value) == str(error.value)


def test_the_limit_cuts_each_set(model, formatter):
    config = EvaluateConfig(max_new_tokens=6, limit=1)
    before = run(model, formatter, config=config)
    assert [[record.id for record in rows] for rows in before.values()] == [["f/2"], ["w/1"]]
    check_before_records([FORGET, WORLD], before, config)


def test_questions_are_encoded_once(model, formatter, monkeypatch):
    encoded: list[tuple[str, str]] = []
    prompts: list[Prompt] = []
    encode, encode_prompts = formatter.encode, formatter.encode_prompts
    monkeypatch.setattr(
        formatter, "encode", lambda rows: encoded.extend((id_, answer) for id_, _, answer in rows) or encode(rows)
    )
    monkeypatch.setattr(formatter, "encode_prompts", lambda each: prompts.extend(each) or encode_prompts(each))
    run(model, formatter)
    assert len(encoded) == len(set(encoded)) == 7
    assert len(prompts) == len(set(prompts)) == len({id_ for id_, _ in encoded})


def test_judges_that_do_not_fit_into_memory_are_refused(model, formatter):
    class Large(Recorder):
        def cosines(self, *_):
            raise torch.OutOfMemoryError

    with pytest.raises(EffaceError, match=r"memory.*judge outputs.*evaluate.embedder=none.*evaluate.judge=key-facts"):
        run(model, formatter, judges=Judges(Large(), Recorder()))


def test_progress_counts_questions_by_stage(model, formatter):
    events: list[tuple[str, int, int]] = []
    run(model, formatter, progress=lambda *event: events.append(event))
    assert list(dict.fromkeys(stage for stage, _, _ in events)) == ["likelihoods", "outputs", "judges"]
    assert all(total == 3 for _, _, total in events)
    for stage in ("likelihoods", "outputs", "judges"):
        assert [done for name, done, _ in events if name == stage][-1] == 3


def test_no_questions_make_no_records(model, formatter):
    empty = EvaluationSet(name="forget", items=(), entailment_premise="output")
    recorder = Recorder()
    judges = Judges(recorder, recorder)
    assert evaluate(model, formatter, [empty], config=CONFIG, judges=judges, before=None) == {"forget": []}


FACTS = EvaluationSet(
    name="world_facts",
    entailment_premise="answer",
    items=(
        Item(
            id="1",
            question="What is the capital of France?",
            answer="The capital of France is Paris.",
            perturbed_answers=("The capital of France is Madrid.",),
            key_fact="Paris",
        ),
        Item(
            id="2",
            question="How many days are in a week?",
            answer="A week has 7 days.",
            perturbed_answers=("A week has 12 days.",),
            key_fact="7",
        ),
    ),
)


@pytest.mark.real
def test_smollm_knows_two_facts(real_models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = real_models / "SmolLM2-135M-Instruct"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    formatter = PromptFormatter(AutoTokenizer.from_pretrained(folder), TextConfig())
    config = EvaluateConfig(max_new_tokens=24, embedder=str(real_models / "all-MiniLM-L6-v2"), judge="key-facts")
    judges = open_judges(config, "cpu")
    records = evaluate(model, formatter, [FACTS], config=config, judges=judges, before=None)
    for item, record in zip(FACTS.items, records["world_facts"], strict=True):
        assert record.entailment_label == "entailment"
        assert record.cosine_answer > 0.6
        assert sum(record.answer_logprobs) > sum(record.perturbed_logprobs[0])
        (alone,) = generate(model, formatter, [item.prompt], max_new_tokens=24, max_cache_tokens=1)
        assert (record.output, record.output_token_ids) == (alone.text, alone.token_ids)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that two processes leave."""
    folder = tmp_path_factory.mktemp("two")
    for ended in run_group(tmp_path_factory.mktemp("logs"), 2, evaluated.work, folder):
        assert ended.code == 0, ended.output[-3000:]
    return folder


def ranks(folder):
    return [json.loads((folder / f"rank-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.mark.slow
def test_the_main_one_of_two_processes_writes_the_records_of_one_process(two):
    before = evaluated.evaluated(1.0, before=None)
    after = evaluated.evaluated(0.9, before=before)
    numbers = {"answer_logprobs", "perturbed_logprobs"}
    for stage, expected in ((evaluated.BEFORE, before), (evaluated.AFTER, after)):
        found = read_record_sets(two / stage)
        assert found.keys() == expected.keys()
        for name, records in expected.items():
            for mine, theirs in zip(found[name], records, strict=True):
                assert mine.model_dump(exclude=numbers) == theirs.model_dump(exclude=numbers)
                assert mine.answer_logprobs == pytest.approx(theirs.answer_logprobs, abs=1e-5)
                for some, others in zip(mine.perturbed_logprobs, theirs.perturbed_logprobs, strict=True):
                    assert some == pytest.approx(others, abs=1e-5)
    assert any(record.cosine_before != 1 for record in after["retain"])  # the outputs before reached who compares


@pytest.mark.slow
def test_another_process_than_the_main_one_gets_no_records(two):
    main, other = ranks(two)
    assert main["sets"] == [[each.name for each in evaluated.SETS]] * 2
    assert main["records"] == 2 * 15
    assert other["sets"] == [[], []]
    assert other["records"] == 0
    assert other["received"] < main["received"] / 50


@pytest.mark.slow
def test_an_error_in_records_is_that_of_every_process(two):
    main, other = ranks(two)
    assert main["errors"] == other["errors"]
    assert "'forget/0'" in main["errors"][0]
    assert "not a number" in main["errors"][1]
