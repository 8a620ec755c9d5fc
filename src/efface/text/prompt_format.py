"""The text around a question and its answer, from a chat template or a format string."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from efface.errors import EffaceError, suggest, summarize_error
from efface.schema import Prompt, Turn
from efface.text.config import FAMILIES
from efface.text.template_renderer import TemplateFailedError, template_renderer

NAMED_FORMATS = {
    "llama2": "[INST] {question} [/INST]{answer}",
    "llama3": (
        "<|start_header_id|>user<|end_header_id|>\n\n{question}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}"
    ),
    "plain": "Question: {question}\nAnswer: {answer}",
}
"""The Llama-2 and Llama-3 formats of the paper, and one for models that are not tuned for chat."""
_CHAT_FORMATS = ("llama2", "llama3")
"""Formats of single questions: conversations have special tokens between turns, which chat templates write."""

_DATE_NAMES = ("strftime_now", "date_string")
"""How chat templates ask for today's date."""
_DATE_STRING = "%d %b %Y"
"""The format of Llama's `date_string`."""
_DIRECTIVES = [*(f"%{flag}{letter}" for letter in "dmjyIHMS" for flag in ("-", "")), *(f"%{c}" for c in "aAbBpYUWuw")]
"""The parts of a date and time that a template may ask for."""
PROBE = "efface-probe"
"""A placeholder text, to find what a template writes around a text."""
_FRAME_PROBES = (PROBE, " \n Who is E. Probe, 'born'\n\n in 1969\t& \"later\"? Él — 名\n ", "?", "x" * 3000)
"""Questions that show whether a template changes what it writes."""
_MARKUP = re.compile(r"[<>\[\]{}|\\/]|```")
"""What templates look for in a question, such as <tool_response>: the template itself renders these questions."""


@dataclass(frozen=True)
class PromptFormat:
    """The text around a question and its answer."""

    render: Callable[[Prompt], str]
    """From a question and its history to the text that generation starts from."""
    answer_prefix: str
    """Between prompt and answer, tokenized with the answer: a space or nothing."""
    answer_suffix: str
    """After the answer."""
    shows_date: bool = False
    """Whether a chat template asks for today's date."""


def dated_template(template: str, day: date) -> str:
    """Make a chat template show a fixed date as today's.

    Args:
        template: of a tokenizer. It may call `strftime_now`, which in transformers gives the day of the run, or read
            `date_string`, as those of Llama do.
        day: the date to show.

    Returns:
        The template for that date.
    """
    # transformers passes no functions to a template; `+` keeps a newline at the start of the template
    midnight = datetime.combine(day, time())
    filled = "".join(f"|replace('{part}', '{midnight.strftime(part)}')" for part in _DIRECTIVES)
    function = "{% macro strftime_now(format) %}{{ format" + filled + " }}{% endmacro +%}"
    return f"{{% set date_string = '{midnight.strftime(_DATE_STRING)}' +%}}{function}{template}"


def chat_prompt_format(tokenizer: Any, day: date) -> PromptFormat:
    """Derive the format of the tokenizer's chat template.

    Args:
        tokenizer: of transformers. Without a chat template, the format can only be used for plain text: rendering a
            question raises `EffaceError`.
        day: the date that the template shows as today's.

    Raises:
        EffaceError: the template is not valid, needs too much time or memory, rejects a question or leaves out its
            answer.
    """
    if not tokenizer.chat_template:
        return PromptFormat(render=_no_template, answer_prefix="", answer_suffix="")
    template = template_text(tokenizer)
    # answers are scored, not the reasoning before them
    renderer = template_renderer(tokenizer, dated_template(template, day), enable_thinking=False)

    def render_turns(turns: Sequence[Turn], *, generation: bool) -> str:
        return renderer.render([turn.model_dump() for turn in turns], generation=generation)

    try:
        return _derive_format(render_turns, shows_date=any(name in template for name in _DATE_NAMES))
    except TemplateFailedError as error:
        raise EffaceError(
            f"the tokenizer's chat template does not take a question and an answer ({error}); set text.format to a "
            "string instead"
        ) from error


def template_text(tokenizer: Any) -> str:
    """The chat template of a tokenizer, which has one; of several, the one for conversations without tools.

    Args:
        tokenizer: of transformers.

    Raises:
        EffaceError: It is no text, or of several none is for conversations without tools.
    """
    try:
        template = tokenizer.get_chat_template()
    except Exception as error:  # transformers raises various errors for what is no template
        raise EffaceError(
            f"the tokenizer's chat template cannot be read ({summarize_error(error)}); set text.format to a string "
            "instead"
        ) from error
    if not isinstance(template, str):
        raise EffaceError(
            f"the tokenizer's chat template is a {type(template).__name__} and no text; set text.format to a string "
            "instead"
        )
    return template


def _derive_format(render_turns: Callable[..., str], *, shows_date: bool) -> PromptFormat:
    """The format of a template. Raises `TemplateFailedError` if it rejects a question with its answer."""
    # What a template writes before and after an answer is the same for all answers: find it with a placeholder.
    question = Turn(role="user", content="question")
    conversation = render_turns([question, Turn(role="assistant", content=PROBE)], generation=False)
    before, probe, suffix = conversation.rpartition(PROBE)
    if not probe:
        raise EffaceError("the tokenizer's chat template leaves out the answer; set text.format to a string instead")
    # Llama-2 and Mistral write a space before an answer that is missing at the end of their generation prompt.
    space = before.removeprefix(render_turns([question], generation=True))
    return PromptFormat(
        render=_conversation_renderer(render_turns),
        answer_prefix=space if space.isspace() else "",
        answer_suffix=suffix,
        shows_date=shows_date,
    )


def _no_template(_: Prompt) -> str:
    raise EffaceError(
        "the tokenizer has no chat template; set text.format to what the model was trained with (a base model: plain), "
        "one of plain, llama2, llama3 or a string such as 'Question: {question}\\nAnswer: {answer}'"
    )


def _conversation_renderer(render_turns: Callable[..., str]) -> Callable[[Prompt], str]:
    """From a prompt to its text; a system turn becomes part of the first question if the template ignores the role."""

    def supports_system() -> bool:
        turns = [Turn(role="system", content=PROBE), Turn(role="user", content="question")]
        try:
            return PROBE in render_turns(turns, generation=True)
        except TemplateFailedError:  # some templates, such as Gemma's, reject the role
            return False

    takes_system = supports_system()

    def render_prompt(prompt: Prompt) -> str:
        return render_turns(_turns(prompt, takes_system=takes_system), generation=True)

    frame = _frame(render_prompt)

    def render(prompt: Prompt) -> str:
        if frame is not None and not prompt.history and not _MARKUP.search(prompt.question):
            return frame(prompt.question)
        try:
            return render_prompt(prompt)
        except TemplateFailedError as error:
            roles = ", ".join(turn.role for turn in _turns(prompt, takes_system=takes_system))
            raise EffaceError(
                f"the chat template rejects a conversation with the roles {roles} ({error}); alternate user and "
                "assistant turns, with at most one system turn before them"
            ) from error

    return render


def _turns(prompt: Prompt, *, takes_system: bool) -> list[Turn]:
    """The turns of a prompt."""
    turns = [*prompt.history, Turn.model_construct(role="user", content=prompt.question)]
    if turns[0].role == "system" and turns[1].role == "user" and not takes_system:
        turns[:2] = [Turn.model_construct(role="user", content=f"{turns[0].content}\n\n{turns[1].content}")]
    return turns


def _frame(render: Callable[[Prompt], str]) -> Callable[[str], str] | None:
    """What a template writes around a question without earlier turns, which is faster than the template itself.

    Args:
        render: Renders the template.

    Returns:
        From a question without markup to the rendered text; None if the template changes questions in another way
        than by removing white space around them, or rejects one.
    """
    try:
        before, probe, after = render(Prompt(PROBE)).partition(PROBE)
        if not probe:
            return None
        for shown in (str, str.strip):
            if all(render(Prompt(text)) == f"{before}{shown(text)}{after}" for text in _FRAME_PROBES):
                return lambda question: f"{before}{shown(question)}{after}"
    except TemplateFailedError:  # the message is for the user's own
        return None
    return None


def string_prompt_format(format_: str) -> PromptFormat:
    """Create the format of a named format or a format string.

    Args:
        format_: a key of `NAMED_FORMATS`, or a string with {question} and then {answer}. Turns before a question are
            few-shot examples: each question and answer in the same format, with a blank line after it if the format
            writes nothing after an answer. The two formats of chat models have none.

    Raises:
        EffaceError: a placeholder is missing, or the placeholders are in the wrong order.
    """
    pattern = NAMED_FORMATS.get(format_, format_)
    before, _, suffix = pattern.partition("{answer}")
    if "{question}" not in before or "{answer}" not in pattern:
        raise EffaceError(
            f"text.format {format_!r} is neither a known format nor a string with {{question}} and then {{answer}}; "
            f"{suggest(format_, ['chat', *NAMED_FORMATS, *FAMILIES])}"
        )
    # Tokenizers merge a space with the word after it, so it belongs to the answer. Otherwise generation would start
    # after a separate space token, which no prompt ended with in training.
    answer_prefix = " " if before.endswith(" ") else ""
    before = before.removesuffix(" ")

    def render(prompt: Prompt) -> str:
        questions, answers = prompt.history[::2], prompt.history[1::2]
        is_few_shot = all(turn.role == "user" for turn in questions) and all(
            turn.role == "assistant" for turn in answers
        )
        if prompt.history and (format_ in _CHAT_FORMATS or not is_few_shot or len(questions) != len(answers)):
            raise EffaceError(
                f"text.format {format_!r} does not support these turns before the question; use text.format=chat, or "
                "data without system prompts and earlier turns"
            )
        shots = (
            before.replace("{question}", question.content) + answer_prefix + answer.content + (suffix or "\n\n")
            for question, answer in zip(questions, answers, strict=True)
        )
        return "".join((*shots, before.replace("{question}", prompt.question)))

    return PromptFormat(render=render, answer_prefix=answer_prefix, answer_suffix=suffix)
