"""The text around a question and its answer: chat templates with earlier turns, and format strings."""

from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.schema import Prompt, Turn
from efface.text.prompt_format import NAMED_FORMATS, chat_prompt_format, string_prompt_format
from support.templates import CHATML, GEMMA, MISTRAL, NO_END, byte_level

HISTORY = (
    Turn(role="system", content="Be brief."),
    Turn(role="user", content="Hello"),
    Turn(role="assistant", content="Hi"),
)
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}{% endfor %}"
)
ONLY_QUESTIONS = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
WITHOUT_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ 'U:' + m.content }}{% endif %}"
    "{% if m.role == 'assistant' %}{{ 'A:' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'A:' }}{% endif %}"
)


def chat_format(template):
    return chat_prompt_format(byte_level(template=template))


@pytest.mark.parametrize(
    ("format_", "prompt", "answer_prefix", "answer_suffix"),
    [
        ("llama2", "[INST] Q [/INST]", "", ""),
        (
            "llama3",
            "<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
            "",
            "",
        ),
        ("plain", "Question: Q\nAnswer:", " ", ""),
        ("{question}\n{answer}", "Q\n", "", ""),
        ("### {question} ### {answer}\n\n", "### Q ###", " ", "\n\n"),
        ("<|im_start|>{question}<|im_end|>{answer}<|im_end|>\n", "<|im_start|>Q<|im_end|>", "", "<|im_end|>\n"),
    ],
)
def test_string_formats(format_, prompt, answer_prefix, answer_suffix):
    found = string_prompt_format(format_)
    assert found.render(Prompt("Q")) == prompt
    assert (found.answer_prefix, found.answer_suffix) == (answer_prefix, answer_suffix)


def test_braces_in_a_question_are_text():
    assert string_prompt_format("llama2").render(Prompt("{answer} {question} {0}")) == (
        "[INST] {answer} {question} {0} [/INST]"
    )


def test_named_formats_are_those_of_the_paper():
    assert NAMED_FORMATS["llama2"] == "[INST] {question} [/INST]{answer}"


@pytest.mark.parametrize(
    ("template", "answer_prefix", "answer_suffix"),
    [
        (CHATML, "", "<|im_end|>\n"),
        (MISTRAL, " ", "</s>"),  # the space before an answer is not part of its generation prompt
        (NO_END, " ", "\n"),
        (None, "", ""),
    ],
    ids=["chatml", "mistral", "no end", "no template"],
)
def test_what_a_template_writes_around_an_answer(template, answer_prefix, answer_suffix):
    found = chat_format(template)
    assert (found.answer_prefix, found.answer_suffix) == (answer_prefix, answer_suffix)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            CHATML,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
            "<|im_start|>assistant\nHi<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        ),
        (  # the template rejects a system turn: its text comes before the first question
            GEMMA,
            "<s><start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n<start_of_turn>model\nHi<end_of_turn>\n"
            "<start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
        ),
        (WITHOUT_SYSTEM, "U:Be brief.\n\nHelloA:HiU:QA:"),
    ],
    ids=["system turn", "rejected", "ignored"],
)
def test_turns_before_a_question(template, expected):
    assert chat_format(template).render(Prompt("Q", HISTORY)) == expected


@pytest.mark.parametrize(
    "date",
    ["{{ strftime_now('%d %b %Y') }}", "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}"],
)
def test_a_template_that_prints_the_date_prints_a_fixed_one(date):
    prompt = chat_format(f"Today: {date}\n" + NO_END).render(Prompt("Q"))
    assert prompt == "Today: 26 Jul 2024\nuser: Q\nassistant:"


def test_a_newline_at_the_start_of_a_template_is_kept():
    assert chat_format("\n" + NO_END).render(Prompt("Q")) == "\nuser: Q\nassistant:"


TWO_USER_TURNS = Prompt("Q", (Turn(role="user", content="Hello"),))


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (lambda: string_prompt_format("lama3"), ["'lama3'", "did you mean 'llama3'"]),
        (
            lambda: string_prompt_format("Question: {question}"),
            ["'Question: {question}'", "{question} and then"],
        ),
        (lambda: string_prompt_format("{answer} to {question}"), ["'{answer} to {question}'", "{question} and then"]),
        (lambda: string_prompt_format("{answer}"), ["'{answer}'", "{question} and then {answer}"]),
        (lambda: string_prompt_format(""), ["''", "allowed: chat, llama2, llama3, plain"]),
        (lambda: string_prompt_format("plain").render(Prompt("Q", HISTORY)), ["'plain'", "text.format=chat"]),
        (lambda: chat_format(ONLY_QUESTIONS), ["leaves out the answer", "text.format"]),
        (lambda: chat_format(None).render(Prompt("Q")), ["no chat template", "plain, llama2, llama3"]),
        (
            lambda: chat_format(ALTERNATING).render(TWO_USER_TURNS),
            ["roles user, user", "roles must alternate", "alternate user and assistant turns"],
        ),
    ],
    ids=[
        "misspelled",
        "no answer",
        "wrong order",
        "no question",
        "empty",
        "turns in a string format",
        "answer left out",
        "no template",
        "roles rejected",
    ],
)
def test_a_format_that_cannot_be_used_is_named_with_a_remedy(use, named):
    with pytest.raises(EffaceError) as error:
        use()
    assert all(words in str(error.value) for words in named)
