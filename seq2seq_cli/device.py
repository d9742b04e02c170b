"""Which device and precision to compute with, and clear errors for those that are not there."""

from __future__ import annotations

import contextlib
import sys

import torch

from seq2seq_cli.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """The device for a config's or command line's `device`; auto takes the fastest there is.

    Raises DeviceError, listing the devices of this machine, when it is not there.
    """
    there = _devices()
    if name == "auto":
        return torch.device(there[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in there:
        raise DeviceError(f"device {name} is not on this machine; there are: {', '.join(there)}")
    return torch.device(wanted)


def _devices() -> list[str]:
    """Fastest first."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The type that products are computed in.

    auto is bfloat16 on a CPU that multiplies it in hardware (where the tutorial model trains about
    1.7 times as fast), and float32 elsewhere.

    Raises DeviceError when bfloat16 is asked for and the device cannot train with it, and for int8,
    which is for search, on a GPU or a CPU without the instructions.
    """
    if name == "int8":
        if device.type != "cpu":
            raise DeviceError(f"precision int8 is for the CPU, not for {device}; --device cpu")
        if not _cpu_multiplies_int8():
            raise DeviceError("precision int8 gives wrong sums on this CPU; there is: float32")
        return torch.int8
    if name == "float32":
        return torch.float32
    fast = device.type == "cpu" and _cpu_multiplies_bfloat16()
    if name == "auto" and not fast:
        return torch.float32
    if not _can_use_bfloat16(device):
        if name == "auto":
            return torch.float32
        raise DeviceError(f"precision bfloat16 does not work on {device} here; there is: float32")
    return torch.bfloat16


def _cpu_multiplies_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _cpu_multiplies_int8() -> bool:
    """Whether sums are right: CPUs with AVX2 alone add pairs of products up in 16 bits."""
    most = torch.full((64, 64), 127, dtype=torch.int8)
    return bool((torch._int_mm(most, most) == 64 * 127**2).all())


def _can_use_bfloat16(device: torch.device) -> bool:
    """CPUs can, in hardware or not. On GPUs, try cuDNN's LSTM: some builds take float16 for it,
    which needs scaled losses."""
    if device.type == "cpu":
        return True
    try:
        lstm = torch.nn.LSTM(8, 8, batch_first=True).to(device)
        inputs, state = torch.zeros(2, 3, 8, device=device), torch.zeros(1, 2, 8, device=device)
        with autocast(device, torch.bfloat16):
            outputs, _ = lstm(inputs, (state, state))
        outputs.float().sum().backward()
    except RuntimeError:
        return False
    return bool(outputs.dtype == torch.bfloat16)


def autocast(
    device: torch.device, precision: torch.dtype
) -> contextlib.AbstractContextManager[object]:
    """Compute products in `precision` inside the block; weights and the loss stay in float32.

    int8 is what search asks `int8_products` for; all else is then in the best other type.
    """
    if precision == torch.int8:
        precision = resolve_precision("auto", device)
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most memory in use at any time: the GPU's on CUDA, else the process's; None where the
    system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return None
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
