"""Operations fall into the right groups, and the report adds up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

import profile_step
from efface.text.sequence import TokenizedSequence
from shapes import SHAPES, Shape, build_model
from step_parts import BETWEEN, OTHER, by_group, group_of
from workload import Workload

TIED, UNTIED = (Shape(32, 2, 4, 2, 48, 97, tie_word_embeddings=tied) for tied in (True, False))


def event(name: str, around=None, *, start=0.0, end=0.0, own=0.0, kernels=(), device=DeviceType.CPU):
    return SimpleNamespace(
        name=name,
        cpu_parent=around,
        time_range=SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start),
        self_cpu_time_total=own,
        kernels=[SimpleNamespace(name=each, duration=duration) for each, duration in kernels],
        device_type=device,
    )


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("aten::mm", "matrix multiplications"),
        ("aten::addmm", "matrix multiplications"),
        ("autograd::engine::evaluate_function: MmBackward0", "matrix multiplications"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("torch_attn::_varlen_attn", "attention"),
        ("aten::_log_softmax", "softmax and loss"),
        ("aten::nll_loss_backward", "softmax and loss"),
        ("autograd::engine::evaluate_function: NllLossBackward0", "softmax and loss"),
        ("aten::add", "norms, rotary, activations"),
        ("aten::silu_backward", "norms, rotary, activations"),
        ("aten::rsqrt", "norms, rotary, activations"),
        ("aten::index", "indexing and copies"),
        ("aten::copy_", "indexing and copies"),
        ("aten::_to_copy", "indexing and copies"),
        ("torch::autograd::AccumulateGrad", "indexing and copies"),
        ("Optimizer.step#AdamW.step", "optimizer"),
        ("aten::view", OTHER),
    ],
)
def test_groups(name, group):
    assert group_of(event(name)) == group


def test_the_enclosing_operation_decides_if_the_name_does_not():
    assert group_of(event("aten::view", event("aten::linear"))) == "matrix multiplications"
    assert group_of(event("aten::mul_", event("aten::foo", event("Optimizer.step#AdamW.step")))) == "optimizer"


def test_time_on_a_cpu():
    product = event("aten::mm", start=0, end=30, own=20.0)
    copied = event("aten::copy_", product, start=5, end=15, own=10.0)
    groups = by_group([product, copied, event("aten::add", start=60, end=100, own=40.0)], "cpu")
    assert groups["matrix multiplications"] == pytest.approx(20e-6)
    assert groups["indexing and copies"] == pytest.approx(10e-6)
    assert groups[BETWEEN] == pytest.approx(30e-6)
    assert sum(groups.values()) == pytest.approx(100e-6)
    assert list(groups.values()) == sorted(groups.values(), reverse=True)


def test_time_on_a_gpu_is_that_of_kernels():
    step = event("Optimizer.step#AdamW.step", end=100, own=99.0, kernels=[("Optimizer.step#AdamW.step", 50.0)])
    product = event("aten::mm", own=99.0, kernels=[("gemm", 30.0)])
    update = event("aten::_fused_adamw_", step, own=99.0, kernels=[("multi_tensor", 20.0)])
    on_gpu = [
        event("gemm", end=30, device=DeviceType.CUDA),
        event("multi_tensor", end=20, device=DeviceType.CUDA),
        event("unknown", end=5, device=DeviceType.CUDA),
        event("Optimizer.step#AdamW.step", end=50, device=DeviceType.CUDA),
    ]
    groups = by_group([step, product, update, *on_gpu], "cuda")
    found = {name: round(1e6 * seconds) for name, seconds in groups.items() if seconds}
    assert found == {"matrix multiplications": 30, "optimizer": 20, OTHER: 5, BETWEEN: 45}


@pytest.mark.parametrize("shape", [TIED, UNTIED])
def test_weights_that_are_counted(shape):
    model = build_model(shape, seed=0, dtype=torch.float32, device=torch.device("cpu"))
    found = profile_step._relative_rate(model, tokens=10, seconds=2.0, rate=1e6)
    layers = sum(weight.numel() for weight in model.model.layers.parameters()) + model.model.norm.weight.numel()
    assert found["weights_counted"] == layers + 32 * 97
    assert found["share_of_rate"] == pytest.approx(6 * (layers + 32 * 97) * 10 / 2 / 1e6)
    assert found["share_of_rate_layers"] == pytest.approx(6 * layers * 10 / 2 / 1e6)


def test_report_of_a_real_step(monkeypatch, capsys):
    rows = tuple(
        {view: TokenizedSequence(f"{view}/{n}", [n, 5, 6], [7, n]) for view in ("forget_idk", "retain", "retain_idk")}
        for n in range(4)
    )
    monkeypatch.setitem(SHAPES, "tiny", TIED)
    monkeypatch.setattr(profile_step, "step_workload", lambda options: Workload(rows, "text", 5.0, 5, 7))
    monkeypatch.setattr(profile_step, "_SIDES", (64,))
    arguments = ["--shape", "tiny", "--method", "idk+ap", "--device", "cpu", "--repeats", "2"]
    assert profile_step.main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert 0 < report["tokens"] <= 4 * 3 * 5
    assert all(report["groups"][each] > 0 for each in ("matrix multiplications", "attention", "optimizer"))
    assert OTHER in report["groups"]
    assert report["matmul_rate"] > 0
    text = profile_step.as_markdown(report)
    assert "| matrix multiplications |" in text
    assert "FLOP/s of a matrix multiplication here" in text


def test_unknown_method_is_refused(capsys):
    assert profile_step.main(["--shape", "tiny", "--method", "em+gd"]) == 2
    assert "did you mean 'me+gd'" in capsys.readouterr().err
