"""Tensors of several files are read as one, or by some of their rows."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from efface.train.checkpoints.checkpoint_files import CheckpointFile, StoredTensors

WHOLE = torch.arange(14.0).reshape(7, 2)


@pytest.fixture
def stored(tmp_path):
    """Seven rows in files of 3, 3 and 1, and a scalar in each."""
    for number, rows in enumerate(WHOLE.split(3)):
        tensors = {"weight": rows, "step": torch.tensor(5.0)}
        CheckpointFile(f"part-{number}.safetensors", tensors, {"weight": 3 * number}).write(tmp_path)
    return StoredTensors(sorted(tmp_path.iterdir(), reverse=True))


def test_parts_are_one_tensor(stored):
    assert sorted(stored.names) == ["step", "weight"]
    assert torch.equal(stored.read("weight"), WHOLE)
    assert stored.read("step") == 5


@pytest.mark.parametrize("rows", [range(7), range(2, 5), range(6, 7), range(3, 3)])
def test_some_rows(stored, rows):
    assert torch.equal(stored.read("weight", rows), WHOLE[rows.start : rows.stop])
    assert stored.read("step", rows) == 5


@pytest.fixture
def flat(tmp_path):
    """The same tensor flattened, in files of 5, 5 and 4 elements, and a scalar in each."""
    for number, elements in enumerate(WHOLE.flatten().split(5)):
        tensors = {"weight": elements, "step": torch.tensor(5.0)}
        CheckpointFile(f"part-{number}.safetensors", tensors, {"weight": 5 * number}, {"weight": [7, 2]}).write(
            tmp_path
        )
    return StoredTensors(sorted(tmp_path.iterdir()))


@pytest.mark.parametrize("rows", [None, range(7), range(2, 5), range(6, 7), range(3, 3)])
def test_rows_of_what_was_stored_flat(flat, rows):
    expected = WHOLE if rows is None else WHOLE[rows.start : rows.stop]
    assert torch.equal(flat.read("weight", rows), expected)
    assert flat.read("step", rows) == 5


@pytest.mark.parametrize("kind", ["stored", "flat"])
@pytest.mark.parametrize("elements", [range(14), range(3, 8), range(4, 5), range(14, 14)])
def test_some_elements(request, kind, elements):
    tensors = request.getfixturevalue(kind)
    assert torch.equal(tensors.read_elements("weight", elements), WHOLE.flatten()[elements.start : elements.stop])
    assert tensors.read_elements("step", elements) == 5


def test_a_missing_part(tmp_path):
    for start in (0, 6):
        CheckpointFile(f"part-{start}.safetensors", {"weight": WHOLE[start : start + 3]}, {"weight": start}).write(
            tmp_path
        )
    stored = StoredTensors(sorted(tmp_path.iterdir()))
    with pytest.raises(ValueError, match="rows 1 to 7 of weight are incomplete"):
        stored.read("weight", range(1, 7))


def test_a_whole_tensor_has_no_metadata(tmp_path):
    file = CheckpointFile("whole.safetensors", {"weight": WHOLE})
    file.write(tmp_path)
    assert safe_open(tmp_path / "whole.safetensors", framework="pt").metadata() is None
    assert torch.equal(StoredTensors([tmp_path / "whole.safetensors"]).read("weight"), WHOLE)
    assert file.nbytes == 14 * 4


def test_copies_do_not_change_with_the_tensors():
    weight = WHOLE.clone()
    copy = CheckpointFile("whole.safetensors", {"weight": weight}).on_cpu()
    weight.zero_()
    assert torch.equal(copy.tensors["weight"], WHOLE)
