"""The chat template of downstream tasks: the texts of transformers, under limits."""

from __future__ import annotations

from datetime import date

import jinja2
import pytest

from efface.downstream.chat_template import with_limited_template
from efface.errors import EffaceError
from efface.text.config import TemplateConfig
from support.templates import CHATML, GEMMA, LLAMA3, NO_END, byte_level

MESSAGES = [
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "3 + 3?"},
]
STARTED = [*MESSAGES, {"role": "assistant", "content": "The answer is "}]


@pytest.mark.parametrize("template", [CHATML, GEMMA, LLAMA3, NO_END])
@pytest.mark.parametrize(
    ("messages", "settings"),
    [
        (MESSAGES, {"add_generation_prompt": True, "continue_final_message": False}),
        (STARTED, {"add_generation_prompt": False, "continue_final_message": True}),
    ],
    ids=["a question", "a started answer"],
)
def test_the_text_is_that_of_transformers(template, messages, settings):
    tokenizer = byte_level(template=template)
    limited = with_limited_template(tokenizer, TemplateConfig())
    found = limited.apply_chat_template(messages, tokenize=False, **settings)
    assert found == tokenizer.apply_chat_template(messages, tokenize=False, **settings)


def test_a_token_that_is_set_later_is_shown():
    limited = with_limited_template(byte_level(template="{{ pad_token }}" + NO_END), TemplateConfig())
    limited.pad_token = "<|im_end|>"
    found = limited.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert found.startswith("<|im_end|>user")


def test_the_date_is_the_one_that_is_set_and_the_tokenizer_is_unchanged():
    tokenizer = byte_level(template="{{ strftime_now('%Y') }}" + NO_END)
    limited = with_limited_template(tokenizer, TemplateConfig(date=date(2023, 12, 2)))
    assert limited.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True).startswith("2023user:")
    assert tokenizer.chat_template == "{{ strftime_now('%Y') }}" + NO_END


def test_a_template_that_fills_the_memory_is_refused():
    template = "{% if messages | length > 2 %}{% set x = 'x' * (9999999999 + messages | length) %}{% endif %}" + NO_END
    limited = with_limited_template(byte_level(template=template), TemplateConfig())
    limited.apply_chat_template(MESSAGES[:1], tokenize=False, add_generation_prompt=True)
    with pytest.raises(EffaceError, match="chat template"):
        limited.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("template", ["{{ raise_exception('no system') }}", "{% for m in messages %}x{% endfor %}"])
def test_a_template_that_rejects_a_conversation_raises_the_error_of_jinja2(template):
    limited = with_limited_template(byte_level(template=template), TemplateConfig())
    with pytest.raises(jinja2.TemplateError):
        limited.apply_chat_template(STARTED, tokenize=False, add_generation_prompt=False, continue_final_message=True)
