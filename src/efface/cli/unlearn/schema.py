"""`efface schema`: a JSON schema of config files, for editors."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from efface.cli.common.options import examples

app = typer.Typer()


@app.command(epilog=examples("efface schema > efface.schema.json", "efface schema finetune"))
def schema(
    command: Annotated[
        Literal["run", "finetune", "evaluate"],
        typer.Argument(metavar="COMMAND", help="run, finetune or evaluate: whose config file is described."),
    ] = "run",
) -> None:
    """Print a JSON schema of config files, with which editors complete and check them."""
    from efface.config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(command), indent=2, ensure_ascii=False))
