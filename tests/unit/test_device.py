"""Which device and precision are taken, on machines that this one is made to look like."""

import pytest
import torch

from seq2seq_cli import device
from seq2seq_cli.errors import DeviceError

CPU = torch.device("cpu")


def machine(monkeypatch: pytest.MonkeyPatch, *, gpus: int, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("gpus", "mps", "name", "expected"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, True, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cpu", "cpu"),
        (0, True, "mps", "mps"),
    ],
)
def test_a_device_that_is_there(
    gpus: int, mps: bool, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, gpus=gpus, mps=mps)

    assert str(device.resolve_device(name)) == expected


@pytest.mark.parametrize(
    ("gpus", "name", "there"),
    [
        (0, "cuda", "cpu"),
        (0, "mps", "cpu"),
        (0, "gpu", "cpu"),
        (2, "cuda:2", "cuda:0, cuda:1, cpu"),
    ],
)
def test_a_device_that_is_not_there(
    gpus: int, name: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, gpus=gpus)

    with pytest.raises(DeviceError) as caught:
        device.resolve_device(name)
    assert str(caught.value) == f"device {name} is not on this machine; there are: {there}"


@pytest.mark.parametrize(
    ("in_hardware", "works", "name", "expected"),
    [
        (True, True, "auto", torch.bfloat16),
        (True, True, "float32", torch.float32),
        (True, False, "auto", torch.float32),
        (False, True, "auto", torch.float32),
        (False, True, "bfloat16", torch.bfloat16),
    ],
)
def test_precision_on_cpu(
    in_hardware: bool,
    works: bool,
    name: str,
    expected: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "_cpu_multiplies_bfloat16", lambda: in_hardware)
    monkeypatch.setattr(device, "_can_use_bfloat16", lambda _: works)

    assert device.resolve_precision(name, CPU) == expected


def test_bfloat16_where_it_does_not_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_can_use_bfloat16", lambda _: False)

    with pytest.raises(DeviceError, match="bfloat16 does not work on cpu here; there is: float32"):
        device.resolve_precision("bfloat16", CPU)


def test_int8_where_its_sums_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: one.int() @ other.int())
    assert device.resolve_precision("int8", CPU) == torch.int8

    def saturated(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one.int() @ other.int()).clamp(max=2**15 - 1)

    monkeypatch.setattr(torch, "_int_mm", saturated)
    with pytest.raises(DeviceError, match="int8 gives wrong sums on this CPU; there is: float32"):
        device.resolve_precision("int8", CPU)


def test_int8_is_not_for_a_gpu() -> None:
    with pytest.raises(DeviceError, match="int8 is for the CPU, not for cuda:1; --device cpu"):
        device.resolve_precision("int8", torch.device("cuda:1"))


@pytest.mark.parametrize("other", [torch.float32, torch.bfloat16])
def test_with_int8_other_products_are_in_the_best_other_type(
    other: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = other == torch.bfloat16
    monkeypatch.setattr(device, "_cpu_multiplies_bfloat16", lambda: fast)

    with device.autocast(CPU, torch.int8):
        assert torch.nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == other


def test_autocast_computes_products_in_the_precision() -> None:
    layer = torch.nn.Linear(2, 2)
    for precision in (torch.float32, torch.bfloat16):
        with device.autocast(CPU, precision):
            assert layer(torch.zeros(1, 2)).dtype == precision


def test_peak_memory_is_at_least_what_is_held() -> None:
    before = device.peak_memory_bytes(CPU)
    assert before is not None
    held = torch.ones(1 << 26)  # 256 MiB

    after = device.peak_memory_bytes(CPU)

    assert after is not None
    assert after >= held.nbytes
    assert after >= before
