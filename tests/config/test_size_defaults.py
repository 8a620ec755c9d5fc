"""Learning rates by the size of the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from efface.config.size_defaults import PUBLISHED_LR, TABLE, default_for, format_count, lr_source, starting_lr
from efface.train.config import TrainConfig


def test_the_default_rate_is_the_published_one():
    assert TrainConfig().lr == PUBLISHED_LR == TABLE[-1].lr


@pytest.mark.parametrize(("parameters", "lr"), [(1, 3e-4), (10**6, 3e-4), (7 * 10**9, 1e-5), (7 * 10**10, 1e-5)])
def test_a_search_starts_from_the_rate_of_the_size(parameters, lr):
    assert starting_lr(parameters, "ga+gd") == lr


def test_between_two_sizes_it_falls_with_the_size():
    rates = [starting_lr(round(10**exponent), "ga+gd") for exponent in (6, 7, 8, 9)]
    assert rates == sorted(rates, reverse=True)
    assert 1e-5 < rates[2] < 3e-4


@pytest.mark.parametrize(("method", "lr"), [("me+kl", 3e-5), ("me+gd", 3e-5), ("idk+kl", 1e-4)])
def test_settings_that_were_found_for_some_methods(method, lr):
    size = 134_515_008
    row = default_for(size, method)
    assert row is not None
    assert row.lr == starting_lr(135_000_000, method) == lr
    assert method in row.methods
    assert all(default_for(size, other) is None for other in ("ga+gd", "idk+ap", "me", "me+ap"))
    assert default_for(10**6, "ga+gd") == default_for(10**6, method) == TABLE[0]


def test_a_manifest_says_whether_the_default_was_measured_for_the_size():
    assert lr_source(8 * 10**9) == TABLE[-1].source
    other = lr_source(134_515_008)
    assert "135 million" in other
    assert "efface tune" in other


@pytest.mark.parametrize(("count", "text"), [(7, "7"), (90_864, "90.9 thousand"), (1_235_814_400, "1.24 billion")])
def test_counts_in_words(count, text):
    assert format_count(count) == text


def test_a_row_has_the_settings_of_the_runs_that_it_was_found_with():
    """docs/reproduction/known.json: a run of each method with these settings is in it."""
    found = json.loads((Path(__file__).parents[2] / "docs" / "reproduction" / "known.json").read_text())
    runs = [{**found["settings"], **run} for run in found["runs"]]
    rows = [(row, method) for row in TABLE if "facts" in row.source for method in row.methods]
    assert rows
    for row, method in rows:
        expected = {**row.settings, "method": method}
        assert any(expected.items() <= {**run}.items() for run in runs), expected
        positions = found["settings"]["me.positions"]
        assert row.me_positions == (positions if method.startswith("me+") else None)
        assert all(f"{key}={found['settings'][key]}" in row.source for key in ("data.retain", "data.known_facts"))


def test_the_page_has_the_rows():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md").read_text()
    lines = [line.split("|")[1:] for line in page.splitlines() if line.startswith("| ") and " million | " in line]
    shown = [[cell.replace("`", "").strip() for cell in line][:7] for line in lines]
    numbers = ("lr", "forget_coeff", "epochs", "batch_size")
    assert shown == [
        [
            format_count(round(row.parameters)),
            ", ".join(row.methods) or "all",
            *(f"{getattr(row, each):g}" for each in numbers),
            row.me_positions or "",
        ]
        for row in TABLE[:-1]
    ]
