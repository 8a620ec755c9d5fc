"""Questions are encoded once, with the ids that the formatter gives prompt and answers."""

from __future__ import annotations

from copy import deepcopy

import pytest
from tokenizers.processors import TemplateProcessing

from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import (
    answer_texts,
    check_position_limit,
    encode_evaluation,
    encode_questions,
    retokenize,
    warn_about_merged,
)
from efface.schema import EvaluationSet, Item, Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from support.messages import assert_names

FULL = Item(
    id="full",
    question="Who wrote it?",
    answer="A poet wrote it.",
    golden_answer="A poet.",
    paraphrased_answer="It was a poet.",
    perturbed_answers=("A farmer wrote it.", "The king."),
)
BARE = Item(id="bare", question="Where?", answer="In a town.")
POSITIONS = 512  # of the model


def evaluation_set(*items: Item) -> EvaluationSet:
    return EvaluationSet(name="forget", items=items, entailment_premise="output")


def test_answers_are_scored_paraphrased_and_perturbed_ones():
    assert answer_texts(FULL) == ["A poet.", "It was a poet.", "A farmer wrote it.", "The king."]
    assert answer_texts(BARE) == ["In a town."]


def test_ids_are_those_of_the_formatter(formatter):
    full, bare = encode_questions(formatter, [FULL, BARE])
    for question, item in ((full, FULL), (bare, BARE)):
        assert question.item is item
        assert [question.prompt] == formatter.encode_prompts([item.prompt])
        assert list(question.answers) == formatter.encode([(item.id, item.prompt, text) for text in answer_texts(item)])
    assert (len(full.answers), len(bare.answers)) == (4, 1)
    assert encode_questions(formatter, []) == []


def test_generation_starts_from_the_prompt_alone_where_answers_share_a_token_with_it(formatter):
    tokenizer = formatter.tokenizer
    joint = PromptFormatter(tokenizer, TextConfig(format="{question} t{answer}"))
    shared = Item(id="shared", question="Who?", answer="he poet.", perturbed_answers=("12",))
    [question] = encode_questions(joint, [shared])
    assert question.prompt == tokenizer("Who? t").input_ids
    assert [answer.merged for answer in question.answers] == [True, False]
    assert question.answers[0].prompt == tokenizer("Who? the").input_ids
    told: list[str] = []
    warn_about_merged([question], "joint", told.append)
    assert_names(told[0], "evaluation", "1 of 2 answers", "'shared'")
    warn_about_merged(encode_questions(formatter, [FULL]), "joint", told.append)
    assert len(told) == 1


def test_sets_are_cut_at_the_limit_and_joined(model, formatter):
    sets = [evaluation_set(FULL, BARE), evaluation_set(BARE)]
    questions = encode_evaluation(model, formatter, sets, EvaluateConfig(limit=1))
    assert [question.item for question in questions] == [FULL, BARE]


def test_sets_have_limits_and_stop_strings_of_their_own(model, formatter):
    own = evaluation_set(BARE).model_copy(update={"max_new_tokens": 32, "stop": ("\n\n",)})
    silent = evaluation_set(BARE).model_copy(update={"max_new_tokens": 0})
    for most, limits in ((200, [32, 0, 200]), (8, [8, 0, 8])):
        config = EvaluateConfig(max_new_tokens=most, stop="Question:")
        questions = encode_evaluation(model, formatter, [own, silent, evaluation_set(BARE)], config)
        assert [question.max_new_tokens for question in questions] == limits
        assert [question.stop for question in questions] == [("\n\n", "Question:"), ("Question:",), ("Question:",)]


def test_a_set_that_is_not_asked_needs_no_positions_for_outputs(model, formatter):
    long = Item(id="long", question="", answer="town " * 200, passage=True)
    silent = evaluation_set(long).model_copy(update={"max_new_tokens": 0})
    config = EvaluateConfig(max_new_tokens=POSITIONS)
    [question] = encode_evaluation(model, formatter, [silent], config)
    assert question.prompt == []
    with pytest.raises(EffaceError, match=r"evaluate\.max_new_tokens"):
        encode_evaluation(model, formatter, [evaluation_set(BARE)], config)


def test_the_paraphrased_question_is_asked_where_there_is_one(model, formatter):
    item = BARE.model_copy(update={"id": "other", "paraphrased_question": "In which place?"})
    config = EvaluateConfig(question="paraphrased")
    questions = encode_evaluation(model, formatter, [evaluation_set(item, BARE)], config)
    assert [question.item.question for question in questions] == ["In which place?", "Where?"]
    assert questions[0].answers[0].prompt == formatter.encode_prompts([Prompt("In which place?")])[0]
    with pytest.raises(EffaceError) as caught:
        encode_evaluation(model, formatter, [evaluation_set(BARE)], config)
    assert_names(str(caught.value), "evaluate.question=paraphrased", "paraphrased_question", "leave it out")


def test_an_answer_beyond_the_limit_of_the_formatter_is_refused(formatter):
    short = PromptFormatter(formatter.tokenizer, TextConfig(format="plain", max_length=10))
    with pytest.raises(EffaceError, match=r"item 'full'.*the limit is 10.*text.max_length"):
        encode_questions(short, [FULL])


def test_outputs_must_fit_into_the_positions_of_the_model(model, formatter):
    prompts = [question.prompt for question in encode_questions(formatter, [FULL, BARE])]
    longest = max(map(len, prompts))
    fitting = POSITIONS - longest
    check_position_limit(model, prompts, fitting)
    named = rf"{longest} tokens.*max_new_tokens={fitting + 1} .*{POSITIONS} positions; .*max_new_tokens to {fitting} or"
    with pytest.raises(EffaceError, match=named):
        check_position_limit(model, prompts, fitting + 1)
    with pytest.raises(EffaceError, match=named):
        encode_evaluation(model, formatter, [evaluation_set(FULL, BARE)], EvaluateConfig(max_new_tokens=fitting + 1))


def test_outputs_are_tokenized_again_as_texts_by_themselves(formatter):
    tokenizer = deepcopy(formatter.tokenizer)
    bos, bos_id = tokenizer.eos_token, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, bos_id)])
    assert tokenizer("a").input_ids[0] == bos_id
    outputs = ["A poet wrote it.", "", " in a town", "a town" + tokenizer.eos_token, "town " * 600, "ä€"]
    ids = retokenize(tokenizer, outputs)
    # the published code: the tokens of `tokenize`, which adds no special token
    assert ids == [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(output)) for output in outputs]
    assert ids[1] == []
    assert ids[3][-1] == tokenizer.eos_token_id
    assert retokenize(tokenizer, []) == []
