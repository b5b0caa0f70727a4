"""What GPUs could reach at most, as their makers publish it."""

from __future__ import annotations

import re

TERA = 1e12
HOPPER_SXM = {"fp32": 66.9, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4}
AMPERE_A100 = {"fp32": 19.5, "tf32": 156.0, "bf16": 312.0, "fp16": 312.0}

PEAKS = (
    # "NVIDIA H100 Tensor Core GPU Architecture" (2022); the data sheets of H200 and GH200 say the same, rounded.
    (r"NVIDIA H100 80GB HBM3|NVIDIA H200|NVIDIA GH200 (120|480)GB", HOPPER_SXM),
    (r"NVIDIA H100 PCIe", {"fp32": 51.2, "tf32": 378.0, "bf16": 756.0, "fp16": 756.0}),
    # "NVIDIA A100 Tensor Core GPU Architecture" (2020).
    (r"(NVIDIA )?A100-(SXM4|PCIE)-[48]0GB|NVIDIA A100 80GB PCIe", AMPERE_A100),
    # Data sheets of A30, A10 and A40 (2021).
    (r"NVIDIA A30", {"fp32": 10.3, "tf32": 82.0, "bf16": 165.0, "fp16": 165.0}),
    (r"NVIDIA A10", {"fp32": 31.2, "tf32": 62.5, "bf16": 125.0, "fp16": 125.0}),
    (r"NVIDIA A40", {"fp32": 37.4, "tf32": 74.8, "bf16": 149.7, "fp16": 149.7}),
    # Data sheets of L4 and L40S (2023); that of L4 tells what is twice as much with sparsity.
    (r"NVIDIA L4", {"fp32": 30.3, "tf32": 60.0, "bf16": 121.0, "fp16": 121.0}),
    (r"NVIDIA L40S", {"fp32": 91.6, "tf32": 183.0, "bf16": 362.0, "fp16": 362.0}),
    # Data sheets of V100 (2020) and T4 (2019), which have no tf32 and no bf16.
    (r"Tesla V100-SXM2-(16|32)GB", {"fp32": 15.7, "fp16": 125.0}),
    (r"Tesla V100-PCIE-(16|32)GB", {"fp32": 14.0, "fp16": 112.0}),
    (r"Tesla T4", {"fp32": 8.1, "fp16": 65.0}),
)
"""Names as torch.cuda.get_device_name tells them, and dense peaks in TFLOP/s by precision: fp32 without tensor cores,
the others with them and sums in float32."""


def find_peak(device: str, precision: str) -> float | None:
    """Return the published dense peak of a whole GPU in FLOP/s; None where it isn't known, as for part of a GPU."""
    peaks = next((peaks for names, peaks in PEAKS if re.fullmatch(names, device)), {})
    return peaks[precision] * TERA if precision in peaks else None
