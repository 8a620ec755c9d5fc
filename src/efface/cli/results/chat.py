"""The command chat: the same question to the model before and after."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from efface.cli.common.options import DataDir, examples, interruptible, say

if TYPE_CHECKING:
    from rich.console import Console

    from efface.chat.load_run import UnlearnedRun
    from efface.chat.messages import ChatRequest
    from efface.chat.session import Chat

app = typer.Typer()
Device = Literal["auto", "cpu", "cuda"]
_HERE = ("127.0.0.1", "localhost", "::1")


@app.command(
    epilog=examples(
        "efface chat runs/first",
        "efface chat runs/first --terminal --temperature 0.7 --seed 1",
        "efface chat runs/first --port 8300",
    )
)
def chat(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run, or of a queue of requests.")
    ],
    *,
    terminal: Annotated[bool, typer.Option("--terminal", help="Talk here instead of on a page.")] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where the page is served; others reach this machine's address, too.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="The page's port; 0 takes any that is free.")
    ] = 0,
    device: Annotated[Device, typer.Option(help="Where both models compute.")] = "auto",
    before: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The model before, where it no longer is where the run found it."),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1024, help="Most tokens of an answer; by default the run's.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0, max=2, help="0 says what is likeliest; more draws, by the seed.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of what is drawn, with --temperature.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Ask the model before unlearning and the one after it the same, side by side.

    A page on this machine alone, or --terminal. Shows what else might have come, too, and offers questions from what
    was forgotten, what was kept and beyond. Nothing is written.
    """
    with interruptible("nothing was written"):
        from rich.console import Console

        from efface.chat.load_run import load_unlearned_run

        found = load_unlearned_run(run)
        settings = _settings(found, max_new_tokens, temperature, seed)
        console = Console()
        talking = _open(console, found, before=before, device=device, data_dir=data_dir)
        if terminal:
            _talk(talking, console, settings)
        else:
            _serve(talking, run, found, settings, host=host, port=port)


def _settings(found: UnlearnedRun, max_new_tokens: int | None, temperature: float, seed: int) -> ChatRequest:
    """All of a question but the question."""
    from efface.chat.messages import MAX_NEW_TOKENS, ChatRequest

    most = max_new_tokens or min(found.settings.evaluate.max_new_tokens, MAX_NEW_TOKENS)
    return ChatRequest.model_construct(
        suggestion=None, question=None, history=(), max_new_tokens=most, temperature=temperature, seed=seed
    )


def _open(
    console: Console,
    found: UnlearnedRun,
    *,
    before: str | None,
    device: Device,
    data_dir: Path | None,
) -> Chat:
    from efface.chat.session import open_chat
    from efface.chat.suggestions import suggested_questions
    from efface.progress.console import ConsoleReporter
    from efface.progress.quiet_libraries import quiet_libraries

    with quiet_libraries(), ConsoleReporter(console) as reporter:
        presets = suggested_questions(found.settings.data, found.before_records, data_dir)
        return open_chat(found, presets, before=before, device=device, reporter=reporter)


def _talk(talking: Chat, console: Console, settings: ChatRequest) -> None:
    from contextlib import suppress

    from efface.chat.terminal import Terminal

    with suppress(ImportError):
        import readline  # noqa: F401 - lets `input` edit its line
    Terminal(talking, console, settings, lambda: input("> ")).run()


def _serve(talking: Chat, run: Path, found: UnlearnedRun, settings: ChatRequest, *, host: str, port: int) -> None:
    from efface.chat.server import ChatServer, serve

    facts = {
        "facts": _facts(run, found),
        "max_new_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
    }
    server = ChatServer(talking, facts, host=host, port=port)
    if host not in _HERE:
        say(f"whoever reaches {host} and knows this address may ask; what they ask is not encrypted")
    typer.echo(f"chat: {server.url} (Ctrl-C ends it)")
    sys.stdout.flush()
    serve(server)


def _facts(run: Path, found: UnlearnedRun) -> str:
    """The run in a line."""
    what = f"{run}, request {found.request}" if found.request else str(run)
    return f"{what}: {found.settings.model} before and after {found.settings.method}"
