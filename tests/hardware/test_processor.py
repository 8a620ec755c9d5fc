"""What the system says about its processor."""

from __future__ import annotations

import pytest

from efface.hardware import processor


@pytest.mark.parametrize(
    ("text", "name"),
    [("flags : fpu\nmodel name : Xeon: 9\nmodel name : Other\n", "Xeon: 9"), ("nothing", None), (None, None)],
)
def test_the_processor_of_linux(tmp_path, monkeypatch, text, name):
    cpuinfo = tmp_path / "cpuinfo"
    if text is not None:
        cpuinfo.write_text(text)
    monkeypatch.setattr(processor, "Path", lambda path: cpuinfo)
    assert processor.cpuinfo("model name") == name
    assert processor.processor_name() == (name or processor.platform.processor() or processor.platform.machine())
    assert processor.processor_cores() >= 1
