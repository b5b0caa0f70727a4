"""Counters of energy as Linux shows them."""

import time
from pathlib import Path

import pytest

from headrace.tries.energy import EnergyMeter, read_counters


def write_counter(folder: Path, name: str, value: object, largest: int = 262_143_328_850) -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{value}\n")
    (folder / name / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder / name / "energy_uj"


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    first, second = (write_counter(tmp_path, f"intel-rapl:{i}", 1_000_000) for i in range(2))
    part = write_counter(tmp_path, "intel-rapl:0:0", 5)
    with EnergyMeter(tmp_path) as meter:
        first.write_text("4000000")
        second.write_text("1500000")
        part.write_text("900000000")
    assert meter.joules == 3.5


def test_a_counter_that_starts_again_is_followed(tmp_path: Path) -> None:
    counter = write_counter(tmp_path, "intel-rapl:0", 9_000_000, largest=9_999_999)
    with EnergyMeter(tmp_path, pause_s=0.01) as meter:
        for value in (2_000_000, 9_500_000, 1_000_000):
            counter.write_text(str(value))
            deadline = time.monotonic() + 10
            while meter._last["intel-rapl:0"][0] != value and time.monotonic() < deadline:
                time.sleep(0.005)
    assert meter.joules == pytest.approx(3 + 7.5 + 1.5)


@pytest.mark.parametrize("content", [None, "", "much"])
def test_what_cannot_be_read_is_not_measured(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        write_counter(tmp_path, "intel-rapl:0", content)
    with EnergyMeter(tmp_path) as meter:
        pass
    assert read_counters(tmp_path) == {}
    assert meter.joules is None
