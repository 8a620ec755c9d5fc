"""Settings and values cannot be changed, and have no unknown fields."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.frozen import FrozenModel


class Size(FrozenModel):
    width: int


@pytest.mark.parametrize("act", [lambda: Size(width=1, height=2), lambda: setattr(Size(width=1), "width", 2)])
def test_what_is_refused(act):
    with pytest.raises(ValidationError):
        act()
