"""Chat templates that run without end or fill the memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.text import template_child
from efface.text.prompt_format import dated_template
from efface.text.template_limits import check_template
from support.messages import assert_names
from support.templates import CHATML, GEMMA, MISTRAL

LAST = "{{ messages[-1].content }}"
HARMFUL = {
    "loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}" + LAST,
    "writes": "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}" + LAST,
    "fills the memory": "{% set x = 'x' * 10000000000 %}" + LAST,
    "doubles": "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}" + LAST,
    "computes": "{% set x = 10 ** (10 ** 9) %}" + LAST,
    "only with earlier turns": "{% if messages | length > 4 %}{{ 'x' * 10000000000 }}{% endif %}" + LAST,
    "only without a generation prompt": "{% if not add_generation_prompt %}{{ 'x' * 10000000000 }}{% endif %}" + LAST,
    "only with its tokens": "{% if eos_token == '</s>' %}{{ 'x' * 10000000000 }}{% endif %}" + LAST,
}


def _seconds_of_children() -> float:
    """Processor time of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(text, id=name, marks=pytest.mark.slow if name == "computes" else ())
        for name, text in HARMFUL.items()
    ],
)
def test_harmful_templates(template: str) -> None:
    before = _seconds_of_children()
    with pytest.raises(EffaceError) as caught:
        check_template(template, (("eos_token", "</s>"),))
    assert_names(str(caught.value), "chat template", "text.format")
    assert _seconds_of_children() - before < 2 * template_child.CPU_SECONDS


@pytest.mark.parametrize("template", [CHATML, GEMMA, MISTRAL])
def test_published_templates_pass(template: str) -> None:
    check_template(template)
    check_template(dated_template(template, date(2024, 7, 26)), (("bos_token", "<s>"), ("eos_token", "</s>")))


@pytest.mark.parametrize("template", ["{% if %}", "{{ 1 / 0 }}", "{{ raise_exception('no') }}", "{{ f() }}", "hello"])
def test_an_error_is_no_danger(template: str) -> None:
    check_template(template)


def test_a_template_of_any_length() -> None:
    with pytest.raises(EffaceError) as caught:
        check_template("x" * 200_001)
    assert_names(str(caught.value), "200,001 characters", "limit is 200,000", "text.format")


def test_the_child_renders_every_conversation(tmp_path: Path) -> None:
    """It counts what the template writes, so that what it passes was rendered."""
    template = "{% for m in messages %}{{ m.content * 1000 }}{% endfor %}"

    def exit_code(length: int) -> int:
        conversations = [[{"role": "user", "content": "x"}] * length]
        task = {"template": template, "conversations": conversations, "variables": {}}
        child = [sys.executable, "-I", str(template_child.__file__)]
        return subprocess.run(child, input=json.dumps(task).encode(), check=False).returncode

    assert exit_code(template_child.MAX_OUTPUT // 1000) == 0
    assert exit_code(template_child.MAX_OUTPUT // 1000 + 1) == template_child.TOO_LONG
