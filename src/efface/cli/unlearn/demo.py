"""`efface demo`: unlearning end to end on a small model, without downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from efface.cli.common.options import examples, interruptible

app = typer.Typer()


@app.command(epilog=examples("efface demo", "efface demo --seed 3 --out runs/third-demo"))
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the demo's runs.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of authors, weights and training.", min=0, max=2**32 - 1)
    ] = 0,
) -> None:
    """Show unlearning end to end in a few minutes.

    A small model learns synthetic authors and unlearns some of them, by the paper's two methods and two baselines.
    """
    with interruptible("the next demo starts from scratch"):
        from efface.demo import run_demo

        run_demo(out, seed=seed)
