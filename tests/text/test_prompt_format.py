"""The text around a question and its answer: chat templates with earlier turns, and format strings."""

from __future__ import annotations

from datetime import date

import pytest

from efface.errors import EffaceError
from efface.schema import Prompt, Turn
from efface.text.config import TextConfig
from efface.text.prompt_format import NAMED_FORMATS, chat_prompt_format, string_prompt_format
from efface.text.template_renderer import TemplateRenderer
from support.messages import assert_names
from support.templates import CHATML, GEMMA, LLAMA3, MISTRAL, NO_END, QWEN3, byte_level

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
LLAMA_DATE = (  # of Llama 3.2
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    '{% set date_string = strftime_now("%d %b %Y") %}{% else %}{% set date_string = "26 Jul 2024" %}{% endif %}'
    "{% endif %}{{ date_string }}"
)


def chat_format(template, day=date(2024, 7, 26)):
    return chat_prompt_format(byte_level(template=template), day)


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


SHOTS = (Turn(role="user", content="Q1"), Turn(role="assistant", content="A1"))


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("plain", "Question: Q1\nAnswer: A1\n\nQuestion: Q\nAnswer:"),  # MUSE's prompt; its last space is the answer's
        ("U:{question} A:{answer}</s>", "U:Q1 A:A1</s>U:Q A:"),
    ],
)
def test_few_shot_examples_in_a_string_format(format_, expected):
    assert string_prompt_format(format_).render(Prompt("Q", SHOTS)) == expected


@pytest.mark.parametrize(("format_", "history"), [("plain", HISTORY), ("plain", SHOTS[:1]), ("llama2", SHOTS)])
def test_other_turns_do_not_fit_into_a_string_format(format_, history):
    with pytest.raises(EffaceError) as caught:
        string_prompt_format(format_).render(Prompt("Q", history))
    assert_names(str(caught.value), f"text.format {format_!r}", "turns", "text.format=chat")


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
    ("shown", "default", "other"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024", "02 Dec 2023"),
        ("{{ strftime_now('%Y-%m-%d') }}", "2024-07-26", "2023-12-02"),
        ("{{ strftime_now('%A, %B %-d') }}", "Friday, July 26", "Saturday, December 2"),
        (LLAMA_DATE, "26 Jul 2024", "02 Dec 2023"),
        ("{{ date_string }}", "26 Jul 2024", "02 Dec 2023"),
    ],
)
def test_a_template_that_shows_the_date_shows_the_one_that_is_set(shown, default, other):
    template = f"Today: {shown}\n" + NO_END
    assert chat_format(template).render(Prompt("Q")) == f"Today: {default}\nuser: Q\nassistant:"
    assert chat_format(template, date(2023, 12, 2)).render(Prompt("Q")) == f"Today: {other}\nuser: Q\nassistant:"
    assert chat_format(template).shows_date
    assert not chat_format(NO_END).shows_date


def test_the_default_date_is_the_fallback_of_llama_3():
    """Its template, where transformers offers no clock."""
    from jinja2 import Template

    without_clock = Template(LLAMA_DATE).render()
    assert chat_format(LLAMA_DATE + NO_END).render(Prompt("Q")).startswith(without_clock)
    assert TextConfig().date.strftime("%d %b %Y") == without_clock


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
        (lambda: string_prompt_format(""), ["''", "allowed: chat, gemma, llama-2-base"]),
        (lambda: string_prompt_format("plain").render(Prompt("Q", HISTORY)), ["'plain'", "text.format=chat"]),
        (lambda: chat_format(ONLY_QUESTIONS), ["leaves out the answer", "text.format"]),
        (lambda: chat_format("{% if %}"), ["chat template", "TemplateSyntaxError", "text.format"]),
        (lambda: chat_format("{{ raise_exception('not this') }}"), ["chat template", "not this", "text.format"]),
        (lambda: chat_format("{{ 1 / 0 }}"), ["chat template", "ZeroDivisionError", "text.format"]),
        (
            lambda: chat_format("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
            ["chat template", "RecursionError", "text.format"],
        ),
        (lambda: chat_format([{"name": 5}]), ["chat template", "text.format"]),
        (lambda: chat_format(5), ["chat template", "text.format"]),
        (lambda: chat_format("{% set x = 'x' * 10000000000 %}"), ["chat template", "MiB", "text.format"]),
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
        "no syntax",
        "raises",
        "divides by zero",
        "recurses",
        "a list",
        "a number",
        "fills the memory",
        "no template",
        "roles rejected",
    ],
)
def test_a_format_that_cannot_be_used_is_named_with_a_remedy(use, named):
    with pytest.raises(EffaceError) as error:
        use()
    assert all(words in str(error.value) for words in named)


# The frame of a template


@pytest.fixture
def counted(monkeypatch):
    """Makes a chat format of a template, and a list that grows with each conversation that the template renders."""
    calls, render = [], TemplateRenderer.render

    def counting(renderer, messages, *, generation):
        calls.append(messages)
        return render(renderer, messages, generation=generation)

    def make(template):
        monkeypatch.setattr(TemplateRenderer, "render", counting)
        found = chat_format(template)
        calls.clear()
        return found, calls

    return make


@pytest.mark.parametrize("template", [CHATML, GEMMA, MISTRAL, LLAMA3, QWEN3, NO_END])
@pytest.mark.parametrize("question", ["Who?", "  Who\n\nis it?\t", "Él & 名 'x' \"y\"", ""])
def test_a_question_is_put_into_the_frame_of_the_template(counted, template, question):
    found, calls = counted(template)
    text = found.render(Prompt(question))
    assert calls == []
    found.render(Prompt(f"{question}<b>"))
    assert len(calls) == 1
    expected = byte_level(template=template).apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert text == expected


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content | upper if m.role == 'user' else m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content | replace('\n', ' ') }}{% endfor %}",
        "{% for m in messages %}{{ m.content | e }}{% endfor %}",
        "{% for m in messages %}{{ m.content | truncate(2000) }}{% endfor %}",
        "{% for m in messages %}{{ m.content | length }}{{ m.content }}{% endfor %}",
    ],
)
def test_a_template_that_changes_questions_renders_each(counted, template):
    found, calls = counted(template)
    found.render(Prompt("Who?"))
    assert len(calls) == 1


def test_earlier_turns_and_markup_are_rendered_by_the_template(counted):
    template = CHATML.replace("m.content", "m.content | replace('<x>', '')")
    found, calls = counted(template)
    assert "a b" in found.render(Prompt("a <x>b"))
    found.render(Prompt("a", HISTORY))
    assert len(calls) == 2
