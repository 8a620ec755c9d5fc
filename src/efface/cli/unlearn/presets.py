"""`efface presets`: names of presets, or the settings of one as a config file."""

from __future__ import annotations

from typing import Annotated

import typer

from efface.cli.common import completion
from efface.cli.common.options import examples

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface presets",
        "efface presets tofu-forget01 method=me+gd recipe=published",
        "efface presets real-world method=idk+ap > mine.yaml",
    )
)
def presets(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|KEY=VALUE",
            show_default=False,
            autocompletion=completion.settings,
            help="A preset to show, then settings that override it, such as method=me+gd or recipe=published.",
        ),
    ] = None,
) -> None:
    """List the presets, or print one's settings as a config file."""
    if settings:
        from efface.config.resolve import preset_to_yaml

        name, *pairs = settings
        typer.echo(preset_to_yaml(name, pairs), nl=False)
        return
    from rich.console import Console

    from efface.config.presets import load_preset, preset_names
    from efface.report.terminal.key_values import print_key_values

    console = Console()
    for name in preset_names():
        found = load_preset(name)
        facts = [("about", found.about)]
        if found.methods:
            facts.append(("tuned", f"{', '.join(found.methods)}; other methods use the paper's defaults"))
        facts.append(("recipes", ", ".join(found.recipes)))
        print_key_values(console, name, facts)
