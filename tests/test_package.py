"""What `import efface` provides."""

from __future__ import annotations

import pytest

import efface as package


def test_all_public_names_exist() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="module 'efface' has no attribute 'unlern'"):
        package.unlern  # noqa: B018


def test_dir_shows_what_is_public_alone() -> None:
    assert dir(package) == sorted(package.__all__)
