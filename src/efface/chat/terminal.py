"""The conversation in a terminal: two columns where there is room, one below the other where there is none."""

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

_TWO_COLUMNS = 80
_SHOWN_LIKELY = 5
_COLORS: dict[Side, str] = {"before": "blue", "after": "yellow"}
HELP = (
    "Type a question, or the number of a preset. /presets lists those, /tokens shows what else might have come in the "
    "last answers, /reset starts a new conversation, /quit ends. Ctrl-C stops an answer."
)


class Terminal:
    """A conversation of one person with both models."""

    def __init__(self, chat: Chat, console: Console, settings: ChatRequest, read: Callable[[], str]) -> None:
        """`settings`: all but the question; `read`: gives a line, or raises `EOFError`."""
        self._chat, self._console, self._settings, self._read = chat, console, settings, read
        self._steps: dict[Side, list[TokenStep]] = {}
        self._earlier: tuple[Exchange, ...] = ()
        self._began: int | None = None

    def talk(self) -> None:
        """Read and answer until /quit, Ctrl-C or the end of the input."""
        self._say(HELP)
        self._presets()
        while True:
            try:
                line = self._read().strip()
            except (EOFError, KeyboardInterrupt):
                self._console.line()
                return
            if line in ("/quit", "/exit"):
                return
            try:
                self._do(line)
            except EffaceError as error:
                self._say(str(error))

    def _do(self, line: str) -> None:
        match line:
            case "":
                pass
            case "/reset":
                self._forget()
                self._say("a new conversation")
            case "/presets":
                self._presets()
            case "/tokens":
                self._tokens()
            case _ if line.lstrip("/").isdecimal():
                self._preset(int(line.lstrip("/")))
            case _ if line.startswith("/"):
                self._say(HELP)
            case _:
                self._ask(line)

    def _preset(self, number: int) -> None:
        """Begin a conversation with a preset question, counted from 1."""
        if not 0 < number <= len(self._chat.presets):
            self._say(f"there are {len(self._chat.presets)} preset questions, from 1 on")
            return
        self._forget()
        preset = self._chat.presets[number - 1]
        self._began = number - 1
        for turn in preset.prompt.history:
            self._console.print(Text(f"{turn.role}: {harmless(turn.content)}", style="dim"))
        self._console.print(Text(harmless(preset.prompt.question), style="bold"))
        self._ask(None)
        if preset.answer:
            self._console.print(Text(f"right answer: {harmless(preset.answer)}", style="dim"))
        if preset.prompt.passage:
            self._forget()

    def _ask(self, question: str | None) -> None:
        """Answer a question, or that of the preset which the conversation begins with."""
        fields = {"preset": self._began, "question": question, "earlier": self._earlier}
        asked = self._settings.model_copy(update=fields)
        self._steps = {side: [] for side in SIDES}
        try:
            with closing(self._chat.ask(asked)) as steps, Live(console=self._console, refresh_per_second=8) as live:
                for side, step in steps:
                    self._steps[side].append(step)
                    live.update(self._answers())
        except KeyboardInterrupt:
            self._say("stopped")
        if not self._console.is_terminal:
            self._console.line()  # which Live leaves out
        said = question or self._chat.presets[self._began or 0].prompt.question
        self._earlier = (
            *self._earlier,
            Exchange(question=said, before=self._text("before"), after=self._text("after")),
        )
        if not self._chat.keeps_turns:
            self._forget()

    def _text(self, side: Side) -> str:
        steps = self._steps[side]
        whole = steps[-1].answer if steps else ""
        return whole if whole is not None else "".join(step.text for step in steps)

    def _answers(self) -> RenderableType:
        panels = [
            Panel(Text(harmless(self._text(side)) or " "), title=side, title_align="left", border_style=_COLORS[side])
            for side in SIDES
        ]
        if self._console.width < _TWO_COLUMNS:
            return Group(*panels)
        grid = Table.grid(expand=True)
        for _ in SIDES:
            grid.add_column(ratio=1)
        grid.add_row(*panels)
        return grid

    def _tokens(self) -> None:
        """What else might have come at each place of the last answers."""
        if not self._steps:
            self._say("there is no answer yet")
        for side, steps in self._steps.items():
            table = Table(title=f"{side}: likely next tokens", title_justify="left")
            table.add_column("said")
            table.add_column("entropy (nats)", justify="right")
            table.add_column("likeliest", overflow="fold")
            for step in steps:
                likely = "  ".join(map(_shown, step.likely[:_SHOWN_LIKELY]))
                table.add_row(Text(_shown(step.chosen)), f"{step.entropy:.3f}", Text(likely))
            self._console.print(table)

    def _presets(self) -> None:
        group = None
        for number, preset in enumerate(self._chat.presets, 1):
            if preset.group != group:
                group = preset.group
                self._console.print(Text(f"{group}:", style="dim"))
            self._console.print(Text(f"  {number:2} {one_line(preset.prompt.question, 100)}"))

    def _forget(self) -> None:
        self._earlier, self._began = (), None

    def _say(self, text: str) -> None:
        self._console.print(Text(one_line(text), style="dim"))


def harmless(text: str) -> str:
    """The text with its lines, each without what could steer a terminal."""
    return "\n".join(map(one_line, text.splitlines()))


def _shown(choice: TokenChoice) -> str:
    """A token and its probability; blanks are to be seen."""
    token = choice.token.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")
    return f"{one_line(token) or '∅'} {choice.probability:.1%}"
