"""The conversation in a terminal: answers side by side, or one below the other in a narrow window."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from efface.chat.messages import SIDES, ChatRequest, Exchange, Side
from efface.chat.session import Chat
from efface.chat.stream import TokenChoice, TokenStep
from efface.errors import EffaceError
from efface.report.sanitize import one_line

_MIN_WIDTH_FOR_COLUMNS = 80
_SHOWN_TOKENS = 5
_COLORS: dict[Side, str] = {"before": "blue", "after": "yellow"}
HELP = (
    "Type a question, or the number of a suggested question. /suggestions lists those, /tokens shows the likely "
    "alternatives of each token of the last answers, /reset starts a new conversation, /quit exits. Ctrl-C stops an "
    "answer."
)


class Terminal:
    """A conversation of one user with both models."""

    def __init__(self, chat: Chat, console: Console, settings: ChatRequest, read: Callable[[], str]) -> None:
        """Prepare a conversation.

        Args:
            chat: The two models.
            console: Where to print.
            settings: A request without a question, for the settings of generation.
            read: Returns the next line that the user typed; raises `EOFError` at the end.
        """
        self._chat, self._console, self._settings, self._read = chat, console, settings, read
        self._steps: dict[Side, list[TokenStep]] = {}
        self._history: tuple[Exchange, ...] = ()
        self._suggestion: int | None = None
        """Index of the suggested question that the conversation started with."""

    def run(self) -> None:
        """Read and answer until /quit, Ctrl-C at the prompt or the end of the input."""
        self._print_note(HELP)
        self._print_suggestions()
        while True:
            try:
                line = self._read().strip()
            except (EOFError, KeyboardInterrupt):
                self._console.line()
                return
            if line in ("/quit", "/exit"):
                return
            try:
                self._handle(line)
            except EffaceError as error:
                self._print_note(str(error))

    def _handle(self, line: str) -> None:
        match line:
            case "":
                pass
            case "/reset":
                self._reset()
                self._print_note("new conversation")
            case "/suggestions":
                self._print_suggestions()
            case "/tokens":
                self._print_tokens()
            case _ if line.lstrip("/").isdecimal():
                self._ask_suggestion(int(line.lstrip("/")))
            case _ if line.startswith("/"):
                self._print_note(HELP)
            case _:
                self._ask(line)

    def _ask_suggestion(self, number: int) -> None:
        """Start a conversation with a suggested question, counted from 1."""
        if not 0 < number <= len(self._chat.suggestions):
            self._print_note(f"there are {len(self._chat.suggestions)} suggested questions; give a number from 1")
            return
        self._reset()
        suggestion = self._chat.suggestions[number - 1]
        self._suggestion = number - 1
        for turn in suggestion.prompt.history:
            self._console.print(Text(f"{turn.role}: {harmless_lines(turn.content)}", style="dim"))
        self._console.print(Text(harmless_lines(suggestion.prompt.question), style="bold"))
        self._ask(None)
        if suggestion.answer:
            self._console.print(Text(f"reference answer: {harmless_lines(suggestion.answer)}", style="dim"))
        if suggestion.prompt.passage:
            self._reset()

    def _ask(self, question: str | None) -> None:
        """Answer a question; None for the suggested question that the conversation starts with."""
        fields = {"suggestion": self._suggestion, "question": question, "history": self._history}
        request = self._settings.model_copy(update=fields)
        self._steps = {side: [] for side in SIDES}
        try:
            with (
                closing(self._chat.answer(request)) as steps,
                Live(console=self._console, refresh_per_second=8) as live,
            ):
                for side, step in steps:
                    self._steps[side].append(step)
                    live.update(self._render_answers())
        except KeyboardInterrupt:
            self._print_note("stopped")
        if not self._console.is_terminal:
            self._console.line()  # Live leaves it out
        asked = question or self._chat.suggestions[self._suggestion or 0].prompt.question
        exchange = Exchange(question=asked, before=self._answer_text("before"), after=self._answer_text("after"))
        self._history = (*self._history, exchange)
        if not self._chat.multi_turn:
            self._reset()

    def _answer_text(self, side: Side) -> str:
        """The answer so far."""
        steps = self._steps[side]
        complete = steps[-1].answer if steps else ""
        return complete if complete is not None else "".join(step.text for step in steps)

    def _render_answers(self) -> RenderableType:
        panels = [
            Panel(
                Text(harmless_lines(self._answer_text(side)) or " "),
                title=side,
                title_align="left",
                border_style=_COLORS[side],
            )
            for side in SIDES
        ]
        if self._console.width < _MIN_WIDTH_FOR_COLUMNS:
            return Group(*panels)
        grid = Table.grid(expand=True)
        for _ in SIDES:
            grid.add_column(ratio=1)
        grid.add_row(*panels)
        return grid

    def _print_tokens(self) -> None:
        """The likely alternatives of each token of the last answers."""
        if not self._steps:
            self._print_note("there is no answer yet")
        for side, steps in self._steps.items():
            table = Table(title=f"{side}: likely next tokens", title_justify="left")
            table.add_column("generated")
            table.add_column("entropy (nats)", justify="right")
            table.add_column("most likely", overflow="fold")
            for step in steps:
                likely = "  ".join(map(_format_choice, step.likely[:_SHOWN_TOKENS]))
                table.add_row(Text(_format_choice(step.chosen)), f"{step.entropy:.3f}", Text(likely))
            self._console.print(table)

    def _print_suggestions(self) -> None:
        group = None
        for number, suggestion in enumerate(self._chat.suggestions, 1):
            if suggestion.group != group:
                group = suggestion.group
                self._console.print(Text(f"{group}:", style="dim"))
            self._console.print(Text(f"  {number:2} {one_line(suggestion.prompt.question, 100)}"))

    def _reset(self) -> None:
        self._history, self._suggestion = (), None

    def _print_note(self, text: str) -> None:
        self._console.print(Text(one_line(text), style="dim"))


def harmless_lines(text: str) -> str:
    """Remove from each line what could control a terminal; see `efface.report.sanitize.one_line`."""
    return "\n".join(map(one_line, text.splitlines()))


def _format_choice(choice: TokenChoice) -> str:
    """A token with visible white space, and its probability."""
    token = choice.token.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")
    return f"{one_line(token) or '∅'} {choice.probability:.1%}"
