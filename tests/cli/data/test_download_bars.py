from __future__ import annotations

import io

from rich.console import Console

from efface.cli.data.download_bars import shown_downloads


def test_a_bar_shows_the_size_of_the_file_and_not_the_compressed_one() -> None:
    output = io.StringIO()
    with shown_downloads(Console(file=output, force_terminal=True, width=100)) as make_bar:
        bar = make_bar("tofu.json", 3_000_000)
        bar.total = 1_000_000  # pooch sets it to the Content-Length
        bar.update(1_500_000)
        retried = make_bar("tofu.json", 3_000_000)
        retried.update(2_000_000)
        retried.reset()
        retried.update(1_000_000)
        retried.close()
    text = output.getvalue()
    assert "tofu.json" in text
    assert "3.0/3.0 MB" in text


def test_nothing_is_shown_without_a_terminal() -> None:
    output = io.StringIO()
    with shown_downloads(Console(file=output)) as make_bar:
        bar = make_bar("tofu.json", 10)
        bar.update(10)
        bar.close()
    assert not output.getvalue().strip()
