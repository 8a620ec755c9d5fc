"""The chat template of `downstream.chat_template`, rendered as every other: with a fixed date, and under limits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from efface.text.config import TemplateConfig
from efface.text.prompt_format import dated_template, template_text
from efface.text.template_renderer import TemplateFailedError, TemplateRenderer, template_renderer

_MARK = "end-of-the-last-message "
"""Finds the end of a message in a text; templates that remove white space remove the space."""


def with_limited_template(tokenizer: Any, text: TemplateConfig) -> Any:
    """A copy of a tokenizer whose `apply_chat_template` renders in a process of its own.

    Args:
        tokenizer: of transformers, with a chat template.
        text: The date that the template shows, instead of the day of the run.

    Raises:
        EffaceError: The template cannot be read.
    """
    template = dated_template(template_text(tokenizer), text.date)
    limited = copy.deepcopy(tokenizer)

    def apply_chat_template(
        messages: Sequence[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        continue_final_message: bool = False,
    ) -> str:
        assert not tokenize  # lm-evaluation-harness tokenizes the text
        try:
            renderer = template_renderer(limited, template)  # the library may set a token for padding
            if continue_final_message:
                return _open_ended(renderer, messages)
            return renderer.render(messages, generation=add_generation_prompt)
        except TemplateFailedError as error:
            raise TemplateError(str(error)) from error  # at which the library leaves out the system turn

    limited.chat_template = template
    limited.apply_chat_template = apply_chat_template
    return limited


def _open_ended(renderer: TemplateRenderer, messages: Sequence[dict[str, str]]) -> str:
    """A conversation up to the end of its last message, which the model goes on with."""
    *earlier, last = messages
    text = renderer.render([*earlier, {**last, "content": last["content"] + _MARK}], generation=False)
    before, mark, after = text.rpartition(_MARK.strip())
    if not mark:
        raise TemplateFailedError("it leaves out the start of the answer")
    return before if after.startswith(" ") else before.rstrip()
