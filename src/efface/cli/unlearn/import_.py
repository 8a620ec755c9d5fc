"""`efface import`: the configuration of another tool -> a config file."""

from __future__ import annotations

from typing import Annotated

import typer

from efface.cli.common.options import add_group, examples, print_message

app = typer.Typer()
group = add_group(
    app,
    "import",
    "Convert the configuration of another tool to a config file.",
    "efface import open-unlearning experiment=unlearn/tofu/default trainer=NPO",
)


@group.command(
    name="open-unlearning",
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        "efface import open-unlearning saves/unlearn/mine/.hydra/config.yaml > mine.yaml",
        "efface import open-unlearning experiment=unlearn/tofu/default trainer=NPO forget_split=forget05 > npo.yaml",
    ),
)
def open_unlearning(
    config: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG.yaml|OVERRIDE...",
            show_default=False,
            help="The config.yaml that Hydra saved in .hydra/ of a run, or an experiment's file; then the overrides of "
            "src/train.py, such as trainer=NPO. Overrides alone are enough.",
        ),
    ],
) -> None:
    """Print the config that does what a run of open-unlearning does.

    What has no counterpart is said on stderr. Nothing of the configuration is executed.
    """
    from efface.config.open_unlearning import convert_command

    converted = convert_command(config)
    for note in converted.notes:
        print_message(f"note: {note}")
    typer.echo(converted.to_yaml(), nl=False)
