"""`efface chat`: the same question to the model before and after unlearning."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from efface.cli.common.options import DataDir, examples, interruptible, print_message, run_argument

if TYPE_CHECKING:
    from rich.console import Console

    from efface.chat.load_run import UnlearnedRun
    from efface.chat.messages import ChatRequest
    from efface.chat.session import Chat

app = typer.Typer()
Device = Literal["auto", "cpu", "cuda"]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@app.command(
    epilog=examples(
        "efface chat runs/first",
        "efface chat runs/first --terminal --temperature 0.7 --seed 1",
        "efface chat runs/first --port 8300",
    )
)
def chat(
    run: Annotated[Path, run_argument("The folder of a run, or of a queue of requests.")],
    *,
    terminal: Annotated[bool, typer.Option("--terminal", help="Chat in the terminal instead of on a page.")] = False,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to serve the page on; the default is this machine only.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port of the page; 0: any free one.")] = 0,
    device: Annotated[Device, typer.Option(help="Device of both models.")] = "auto",
    before: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The model before unlearning, if it was moved since the run."),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1024, help="Maximum tokens of an answer; default: as in the run."),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Sampling temperature; 0: greedy decoding.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of sampling, with --temperature.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Chat with the model before and after unlearning.

    Both answer the same question, side by side. Serves a page on this machine only, or chats in the terminal. Also
    shows likely alternative tokens, and suggests questions from the forget set, the retain set and outside both.
    Nothing is written.
    """
    with interruptible("nothing was written"):
        from rich.console import Console

        from efface.chat.load_run import load_unlearned_run

        unlearned = load_unlearned_run(run)
        settings = _settings(unlearned, max_new_tokens, temperature, seed)
        console = Console()
        session = _open(console, unlearned, before=before, device=device, data_dir=data_dir)
        if terminal:
            _chat_in_terminal(session, console, settings)
        else:
            _serve(session, run, unlearned, settings, host=host, port=port)


def _settings(unlearned: UnlearnedRun, max_new_tokens: int | None, temperature: float, seed: int) -> ChatRequest:
    """A request without its question: the settings of generation."""
    from efface.chat.messages import MAX_NEW_TOKENS, ChatRequest

    limit = max_new_tokens or min(unlearned.settings.evaluate.max_new_tokens, MAX_NEW_TOKENS)
    return ChatRequest.model_construct(
        suggestion=None, question=None, history=(), max_new_tokens=limit, temperature=temperature, seed=seed
    )


def _open(
    console: Console,
    unlearned: UnlearnedRun,
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
        presets = suggested_questions(unlearned.settings.data, unlearned.before_records, data_dir)
        return open_chat(unlearned, presets, before=before, device=device, reporter=reporter)


def _chat_in_terminal(session: Chat, console: Console, settings: ChatRequest) -> None:
    from contextlib import suppress

    from efface.chat.terminal import Terminal

    with suppress(ImportError):
        import readline  # noqa: F401 - lets `input` edit its line
    Terminal(session, console, settings, lambda: input("> ")).run()


def _serve(session: Chat, run: Path, unlearned: UnlearnedRun, settings: ChatRequest, *, host: str, port: int) -> None:
    from efface.chat.server import ChatServer, serve

    facts = {
        "facts": _title(run, unlearned),
        "max_new_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
    }
    server = ChatServer(session, facts, host=host, port=port)
    if host not in _LOOPBACK:
        print_message(f"warning: anyone who can reach {host} can use this page, and the connection is not encrypted")
    typer.echo(f"chat: {server.url} (Ctrl-C ends it)")
    sys.stdout.flush()
    serve(server)


def _title(run: Path, unlearned: UnlearnedRun) -> str:
    """The run in one line."""
    name = f"{run}, request {unlearned.request}" if unlearned.request else str(run)
    return f"{name}: {unlearned.settings.model} before and after {unlearned.settings.method}"
