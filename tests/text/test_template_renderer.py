"""Chat templates in a process of their own: the texts of transformers, and limits of time, memory and output."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
from datetime import date
from typing import Any

import jinja2
import pytest

from efface.errors import EffaceError
from efface.schema import Prompt, Turn
from efface.text import template_child, template_renderer
from efface.text.prompt_format import chat_prompt_format, dated_template
from efface.text.template_renderer import TemplateFailedError, TemplateRenderer
from support.messages import assert_names
from support.templates import CHATML, GEMMA, LLAMA3, MISTRAL, NO_END, QWEN3, byte_level

TURN = {"role": "user", "content": "Who?"}
CONVERSATION = [TURN, {"role": "assistant", "content": " Él & <b>'名'\n "}, {"role": "user", "content": "\ud800"}]
LAST = "{{ messages[-1].content }}"
LOOP = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
BOMB = "{% set x = ('x' * (9999999999 + messages | length)) %}"


def renderer(template: str, **variables: Any) -> TemplateRenderer:
    """A new renderer, which no other test has used."""
    return template_renderer.template_renderer(
        byte_level(), template + "{# " + os.urandom(8).hex() + " #}", **variables
    )


def _seconds_of_children() -> float:
    """Processor time of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# The texts of transformers

FEATURES = {
    "generation": "{% generation %}{% set a = messages[0].content %}{{ a }}{% endgeneration %}{{ a }}",
    "JSON": "{{ messages | tojson(indent=2) }}{{ messages[0] | tojson(separators=(',', ':'), sort_keys=True) }}",
    "namespace": "{% set n = namespace(a=1) %}{% for m in messages %}{% set n.a = n.a + 1 %}{% endfor %}{{ n.a }}",
    "dict": "{{ dict(a=1) }}{{ dict.fromkeys(['b']) }}",
    "break": "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "variables": "{{ tools is none }}{{ tools is defined }}{{ documents }}{{ eos_token }}{{ other is defined }}",
    "blocks": "  {% if true %}\n  a\n  {% endif %}\n" + LAST + "\n",
}


@pytest.mark.parametrize("generation", [True, False])
@pytest.mark.parametrize("template", [CHATML, LLAMA3, MISTRAL, QWEN3, NO_END, *FEATURES.values()])
def test_the_text_is_that_of_transformers(template: str, generation: bool) -> None:
    expected = byte_level(template=template).apply_chat_template(
        CONVERSATION, tokenize=False, add_generation_prompt=generation, enable_thinking=False
    )
    found = template_renderer.template_renderer(byte_level(), template, enable_thinking=False)
    assert found.render(CONVERSATION, generation=generation) == expected


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ raise_exception('no') }}", "TemplateError: no"),
        ("{{ messages[0].a.b }}", "UndefinedError"),
        ("{% set n = namespace() %}{% set n.__class__ = 1 %}", "SecurityError"),
        ("{{ namespace(_x=1) }}", "SecurityError"),
        ("{{ dict.__class__.__mro__ }}", "SecurityError"),
        ("{{ raise_exception('x' * 100000) }}", "x" * 200),
    ],
)
def test_an_error_of_the_template_is_named(template: str, named: str) -> None:
    found = renderer(template)
    for _ in range(2):
        with pytest.raises(TemplateFailedError, match=named) as caught:
            found.render([TURN], generation=True)
        assert len(str(caught.value)) < 1000


def test_the_same_conversation_is_always_the_same_text() -> None:
    found = renderer("{{ range(10 ** 4) | random }}")
    texts = {found.render([TURN], generation=True) for _ in range(5)}
    assert len(texts) == 1


def test_nothing_is_rendered_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("rendered in this process")

    monkeypatch.setattr(jinja2.Environment, "compile", refuse)
    found = chat_prompt_format(byte_level(template=GEMMA + "{# here #}"), date(2024, 7, 26))
    history = (
        Turn(role="system", content="Be brief."),
        Turn(role="user", content="Hi"),
        Turn(role="assistant", content="?"),
    )
    assert "Be brief." in found.render(Prompt("<b>", history))


# Limits

HARMFUL = {
    "loops": LOOP + LAST,
    "writes": "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}" + LAST,
    "fills the memory": BOMB + LAST,
    "fills the memory when it is compiled": "{% set x = 'x' * 10000000000 %}" + LAST,
    "doubles": "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}" + LAST,
    "computes": "{% set x = 10 ** (10 ** 9) %}" + LAST,
    "loops where thinking is a setting": "{% if enable_thinking is defined %}" + LOOP + "{% endif %}" + LAST,
    "where thinking is a setting": "{% if enable_thinking is defined %}" + BOMB + "{% endif %}" + LAST,
    "where tools are a variable": "{% if tools is defined %}" + BOMB + "{% endif %}" + LAST,
    "with earlier turns": "{% if messages | length == 7 %}" + BOMB + "{% endif %}" + LAST,
    "with a word": "{% if 'tulip' in messages[-1].content %}" + BOMB + "{% endif %}" + LAST,
    "with the role": "{% if messages[0].role == 'user' %}" + BOMB + "{% endif %}" + LAST,
    "with its tokens": "{% if eos_token == '</s>' %}" + BOMB + "{% endif %}" + LAST,
    "without a generation prompt": "{% if not add_generation_prompt %}" + BOMB + "{% endif %}" + LAST,
    "on a date": "{% if strftime_now('%d') == '26' %}" + BOMB + "{% endif %}" + LAST,
    "in what the assistant says": "{% generation %}" + BOMB + "{% endgeneration %}" + LAST,
    "by chance": "{% if range(2) | random == 1 or true %}" + BOMB + "{% endif %}" + LAST,
}


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(text, id=name, marks=pytest.mark.slow if name in ("computes", "doubles", "loops") else ())
        for name, text in HARMFUL.items()
    ],
)
def test_harmful_templates(template: str) -> None:
    before = _seconds_of_children()
    found = renderer(dated_template(template, date(2024, 7, 26)), enable_thinking=False)
    conversation = [TURN, {"role": "assistant", "content": "x"}] * 3 + [{"role": "user", "content": "A tulip <b>"}]
    with pytest.raises(EffaceError) as caught:
        found.render(conversation, generation=False)
    assert_names(str(caught.value), "chat template", "text.format")
    assert _seconds_of_children() - before < 2 * template_child.CPU_SECONDS


def test_a_template_that_exceeds_a_limit_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = renderer("{% if messages | length > 1 %}" + BOMB + "{% endif %}" + LAST)
    assert found.render([TURN], generation=True) == "Who?"
    with pytest.raises(EffaceError):
        found.render(CONVERSATION, generation=True)
    monkeypatch.setattr(template_renderer, "_Child", None)
    with pytest.raises(EffaceError):
        found.render([TURN], generation=True)


@pytest.mark.slow
def test_many_conversations_may_not_take_long_each() -> None:
    found = renderer("{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}" + LAST)

    def all_of_them() -> None:
        for _ in range(1000):
            found.render([TURN], generation=True)

    before = _seconds_of_children()
    with pytest.raises(EffaceError):
        all_of_them()
    assert _seconds_of_children() - before < 3 * template_child.CPU_SECONDS


def test_long_conversations_may_write_more() -> None:
    found = renderer("{% for m in messages %}{{ m.content * 2 }}{% endfor %}")
    long = [{"role": "user", "content": "x" * 1000}] * 1000
    assert len(found.render(long, generation=True)) == 2_000_000


def test_a_template_of_any_length() -> None:
    with pytest.raises(EffaceError) as caught:
        TemplateRenderer("x" * 200_001, {})
    assert_names(str(caught.value), "200,001 characters", "limit is 200,000", "text.format")


# The process


def test_the_process_ends_with_the_renderer() -> None:
    found = TemplateRenderer(LAST, {})
    found.render([TURN], generation=True)
    assert found._child is not None
    process = found._child._process
    assert process.poll() is None
    del found
    gc.collect()
    assert process.returncode is not None


def test_the_process_ends_with_its_parent() -> None:
    task = {"template": LAST, "variables": {}}
    child = [sys.executable, str(template_child.__file__)]
    ended = subprocess.run(child, input=json.dumps(task).encode() + b"\n", timeout=30, check=True, capture_output=True)
    assert ended.stdout == b""


def test_an_interrupted_conversation_is_not_answered_in_place_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    found = renderer(LAST)
    found.render([TURN], generation=True)
    assert found._child is not None
    pipe = found._child._process.stdout
    monkeypatch.setattr(
        found._child._process, "stdout", type("Pipe", (), {"readline": _interrupted, "close": pipe.close})
    )
    with pytest.raises(KeyboardInterrupt):
        found.render([{"role": "user", "content": "interrupted"}], generation=True)
    assert found.render([TURN], generation=True) == "Who?"


def _interrupted() -> bytes:
    raise KeyboardInterrupt


def test_a_forked_process_starts_its_own() -> None:
    found = renderer(LAST)
    found.render([TURN], generation=True)
    pid = os.fork()
    if pid == 0:
        texts = [found.render([{"role": "user", "content": str(n)}], generation=True) for n in range(50)]
        os._exit(0 if texts == [str(n) for n in range(50)] else 1)
    texts = [found.render([{"role": "user", "content": f"p{n}"}], generation=True) for n in range(50)]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert texts == [f"p{n}" for n in range(50)]


def test_threads_share_one_process() -> None:
    from concurrent.futures import ThreadPoolExecutor

    found = renderer(LAST)

    def render(n: int) -> str:
        return found.render([{"role": "user", "content": str(n)}], generation=True)

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(render, range(200))] == [str(n) for n in range(200)]
