"""What stands around a question and its answer: a chat template's turns, or a string's text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from efface.errors import EffaceError, suggest
from efface.schema import Prompt, Turn

NAMED_FORMATS = {
    "llama2": "[INST] {question} [/INST]{answer}",
    "llama3": (
        "<|start_header_id|>user<|end_header_id|>\n\n{question}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}"
    ),
    "plain": "Question: {question}\nAnswer: {answer}",
}
"""The paper's Llama-2 and Llama-3 formats, and one for models that were never tuned to chat."""

# Some templates print today's date; a fixed one keeps a run the same on every day. The macro hides
# transformers' function of that name; `+` keeps a newline that the template starts with.
_FIXED_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro +%}"
PROBE = "efface-probe"
"""Stands where a text will, to see what a template makes around it."""


@dataclass(frozen=True)
class PromptFormat:
    """What stands around a question and its answer."""

    prompt: Callable[[Prompt], str]
    """From a question and its history to the text that generation starts from."""
    lead: str
    """Between prompt and answer, tokenized with the answer: a space or nothing."""
    suffix: str
    """Behind the answer."""


def chat_prompt_format(tokenizer: Any) -> PromptFormat:
    """The frame of the tokenizer's own chat template. Raises `EffaceError` for one that leaves the answer out."""
    if not tokenizer.chat_template:
        return PromptFormat(prompt=_no_template, lead="", suffix="")  # running text needs none
    template = _FIXED_DATE + tokenizer.get_chat_template()

    def render(turns: Sequence[Turn], *, prompt: bool) -> str:
        text = tokenizer.apply_chat_template(
            [turn.model_dump() for turn in turns],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=prompt,
            enable_thinking=False,  # answers are scored, not the thoughts before them
        )
        return str(text)

    # What a template writes before and behind an answer is the same for all answers: a probe shows it.
    question = Turn(role="user", content="question")
    answered = render([question, Turn(role="assistant", content=PROBE)], prompt=False)
    before, found, suffix = answered.rpartition(PROBE)
    if not found:
        raise EffaceError("the tokenizer's chat template leaves the answer out; set text.format to a string instead")
    # Llama-2 and Mistral write a space before an answer that their generation prompt does not end with.
    space = before.removeprefix(render([question], prompt=True))
    return PromptFormat(prompt=_conversation(render), lead=space if space.isspace() else "", suffix=suffix)


def _no_template(_: Prompt) -> str:
    raise EffaceError(
        "the tokenizer has no chat template; set text.format to plain, llama2, llama3 or a string such as "
        "'Question: {question}\\nAnswer: {answer}'"
    )


def _conversation(render: Callable[..., str]) -> Callable[[Prompt], str]:
    """From a prompt to its text; a system turn goes into the first question where the template knows none."""
    from jinja2 import TemplateError

    def known_system() -> bool:
        probe = [Turn(role="system", content=PROBE), Turn(role="user", content="question")]
        try:
            return PROBE in render(probe, prompt=True)
        except TemplateError:  # Gemma's and others' refuse the role
            return False

    takes_system = known_system()

    def show(prompt: Prompt) -> str:
        turns = [*prompt.history, Turn.model_construct(role="user", content=prompt.question)]
        if turns[0].role == "system" and turns[1].role == "user" and not takes_system:
            joined = f"{turns[0].content}\n\n{turns[1].content}"
            turns[:2] = [Turn.model_construct(role="user", content=joined)]
        try:
            return render(turns, prompt=True)
        except TemplateError as error:
            roles = ", ".join(turn.role for turn in turns)
            raise EffaceError(
                f"the chat template refuses a conversation of the roles {roles} ({error}); let user and assistant "
                "take turns, with at most one system turn before them"
            ) from error

    return show


def string_prompt_format(format_: str) -> PromptFormat:
    """The frame of a known format or a string. Raises `EffaceError` for one without its placeholders."""
    pattern = NAMED_FORMATS.get(format_, format_)
    head, _, suffix = pattern.partition("{answer}")
    if "{question}" not in head or "{answer}" not in pattern:
        raise EffaceError(
            f"text.format {format_!r} is neither a known format nor a string with {{question}} and then {{answer}}; "
            f"{suggest(format_, ['chat', *NAMED_FORMATS])}"
        )
    # Tokenizers fuse a space with the word behind it: it belongs to the answer, or generation would
    # start from a lone space that no prompt ended with in training.
    lead = " " if head.endswith(" ") else ""
    head = head.removesuffix(" ")

    def show(prompt: Prompt) -> str:
        if prompt.history:
            raise EffaceError(
                f"text.format {format_!r} has no place for what was said before a question; use text.format=chat, or "
                "data without system prompts and earlier turns"
            )
        return head.replace("{question}", prompt.question)

    return PromptFormat(prompt=show, lead=lead, suffix=suffix)
