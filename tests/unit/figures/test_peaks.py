"""Published peaks: found by the exact name of a whole GPU, and in the order that precisions must have."""

from __future__ import annotations

import pytest

from headrace.figures.numbers import format_flop
from headrace.figures.peaks import PEAKS, find_peak

NAMES = (
    "NVIDIA H100 80GB HBM3",
    "NVIDIA H100 PCIe",
    "NVIDIA H200",
    "NVIDIA GH200 480GB",
    "A100-SXM4-40GB",
    "NVIDIA A100-SXM4-80GB",
    "NVIDIA A100-PCIE-40GB",
    "NVIDIA A100 80GB PCIe",
    "NVIDIA A30",
    "NVIDIA A10",
    "NVIDIA A40",
    "NVIDIA L4",
    "NVIDIA L40S",
    "Tesla V100-SXM2-16GB",
    "Tesla V100-PCIE-32GB",
    "Tesla T4",
)


@pytest.mark.parametrize("name", NAMES)
def test_lower_precision_is_never_slower(name):
    peaks = [peak for precision in ("fp32", "tf32", "bf16") if (peak := find_peak(name, precision))]
    assert peaks == sorted(peaks)
    half = find_peak(name, "fp16")
    assert half >= peaks[-1] > 5e12


def test_peaks_are_dense():
    assert find_peak("NVIDIA H100 80GB HBM3", "bf16") == 989.4e12
    assert find_peak("NVIDIA A100-SXM4-80GB", "tf32") == 156e12


@pytest.mark.parametrize("name", ["cpu", "", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA A100X", "NVIDIA A100", "L4"])
def test_what_is_not_exactly_known_has_no_peak(name):
    assert find_peak(name, "fp32") is None


def test_what_a_gpu_lacks_has_no_peak():
    assert find_peak("Tesla V100-SXM2-16GB", "bf16") is None
    assert find_peak("Tesla T4", "tf32") is None


def test_every_line_of_the_table_is_found():
    found = {id(peaks) for name in NAMES for names, peaks in PEAKS if find_peak(name, "fp32") == peaks["fp32"] * 1e12}
    assert found == {id(peaks) for _, peaks in PEAKS}


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 FLOP"),
        (640, "640 FLOP"),
        (999.4, "999 FLOP"),
        (1000, "1.00 kFLOP"),
        (1.944e6, "1.94 MFLOP"),
        (3.2e15, "3.20 PFLOP"),
    ],
)
def test_operations_are_written_with_a_prefix(count, words):
    assert format_flop(count) == words
