"""A config.yaml of this version or an earlier one, compared with settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.config.saved_settings import has_settings, read_saved_settings


def run(**changes: Any) -> RunConfig:
    return validate_config(RunConfig, {"method": "me+gd", "model": "m", "data": "synthetic-authors"} | changes)


def test_a_saved_config_is_read_under_its_current_names(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("train: {checkpoint_every: 3}\ndata: {source: generated}\n")
    assert read_saved_settings(path) == {"train": {"save_steps": 3}, "data": {"source": "synthetic-authors"}}


def test_files_in_a_list_may_lack_settings_too(tmp_path: Path) -> None:
    path, config = tmp_path / "config.yaml", run(data={"forget": "f.csv", "forgotten_before": ["g.csv", "h.csv"]})
    saved = config.model_dump(mode="json")
    for file in saved["data"]["forgotten_before"]:
        del file["limits"]
    path.write_text(yaml.safe_dump(saved))
    assert has_settings(path, config)
    saved["data"]["forgotten_before"].pop()
    path.write_text(yaml.safe_dump(saved))
    assert not has_settings(path, config)


def test_settings_that_a_saved_config_does_not_have_count_as_defaults(tmp_path: Path) -> None:
    path, config = tmp_path / "config.yaml", run()
    saved = config.model_dump(mode="json")
    path.write_text(yaml.safe_dump(saved))
    assert has_settings(path, config)
    del saved["text"]["date"], saved["text"]["boundary"], saved["tokenizer"], saved["evaluate"]
    path.write_text(yaml.safe_dump(saved))
    assert has_settings(path, config)
    assert not has_settings(path, run(text={"boundary": "separate"}))
    assert not has_settings(path, run(evaluate={"limit": 3}))
    path.write_text(yaml.safe_dump({**saved, "later": 1}))
    assert not has_settings(path, config)
