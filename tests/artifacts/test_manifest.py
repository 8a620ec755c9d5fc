"""manifest.json of this version and of earlier ones."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.artifacts import Manifest

NEW = ("hardware", "config_sha256", "method_pages", "splits", "defaults", "parameters", "finished", "files", "writing")


def test_what_is_written_is_read(made):
    assert Manifest.model_validate(made.model_dump(mode="json")) == made


def test_a_manifest_of_an_earlier_version_has_what_is_new_since_as_unknown(made):
    written = made.model_dump(mode="json")
    read = Manifest.model_validate({name: value for name, value in written.items() if name not in NEW})
    assert (read.hardware, read.finished, read.files, read.splits) == (None, None, None, {})
    assert (read.started, read.model_sha256) == (made.started, made.model_sha256)


def test_another_key_is_refused(made):
    with pytest.raises(ValidationError, match="unknown"):
        Manifest.model_validate({**made.model_dump(mode="json"), "unknown": 1})
