"""What `import efface` promises."""

from __future__ import annotations

import pytest

import efface as package


def test_everything_it_promises_is_there() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="module 'efface' has no attribute 'unlern'"):
        package.unlern  # noqa: B018
