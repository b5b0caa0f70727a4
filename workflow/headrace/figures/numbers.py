"""Numbers as a reader wants them: as many digits as they are good for."""

from __future__ import annotations

import math


def format_number(value: float, digits: int = 4) -> str:
    """Write a number with so many significant digits: 0.9500, 143.2, 21340, 1.200e-05."""
    if not math.isfinite(value):
        return str(float(value))
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 7:
        return f"{value:.{max(0, digits - 1 - exponent)}f}"
    return f"{value:.{digits - 1}e}"


def format_mean(mean: float, deviation: float) -> tuple[str, str]:
    """Write a mean with four digits, or fewer where its standard deviation drowns them, and the deviation alike.

    The deviation is "" where there is none, that is for fewer than two seeds.
    """
    if not math.isfinite(mean) or not math.isfinite(deviation) or deviation == 0:
        return format_number(mean), "0" if deviation == 0 else ""
    exponent = math.floor(math.log10(max(abs(mean), deviation)))
    decimals = min(3 - exponent, 1 - math.floor(math.log10(deviation)))
    # A spread below the mean's last digit must not read as zero, and a huge one needs an exponent.
    if not 0 <= decimals <= 7 or float(f"{deviation:.{decimals}f}") == 0:
        return format_number(mean), format_number(deviation, 2)
    return f"{mean:.{decimals}f}", f"{deviation:.{decimals}f}"


def format_alike(value: float, shown: str) -> str:
    """Write a number with as many decimals as another one that is shown; with four digits where that one has none."""
    whole, _, decimals = shown.partition(".")
    if not math.isfinite(value) or not decimals.isdigit() or not whole.lstrip("-").isdigit():
        return format_number(value)
    text = f"{value:.{len(decimals)}f}"
    return text if float(text) or not value else format_number(value, 2)


def format_count(count: int | None) -> str:
    """Write a whole number with thin spaces between thousands."""
    return "–" if count is None else f"{count:,}".replace(",", "\u202f")


def format_seconds(seconds: float | None) -> str:
    """Write a duration: 0.42 s, 12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 99.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_mebibytes(mib: float | None) -> str:
    """Write an amount of memory: 327 MiB, 1.5 GiB."""
    if mib is None:
        return "–"
    return f"{mib:.0f} MiB" if mib < 1023.5 else f"{mib / 1024:.1f} GiB"


def format_bytes(count: float | None) -> str:
    """Write an amount of data: 512 B, 1.5 KiB, 327.0 MiB."""
    if count is None or not math.isfinite(count):
        return "–"
    if count < 1023.5:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1023.5:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def format_flop(count: float) -> str:
    """Write a number of floating-point operations: 640 FLOP, 1.94 MFLOP, 13.6 GFLOP."""
    for unit in ("", "k", "M", "G", "T"):
        if count < 999.5:
            return f"{count:.0f} FLOP" if not unit else f"{format_number(count, 3)} {unit}FLOP"
        count /= 1000
    return f"{format_number(count, 3)} PFLOP"


def format_energy(joules: float | None) -> str:
    """Write an amount of energy: 640 J, 12.3 kJ, and from 360 kJ on 0.100 kWh."""
    if joules is None or not math.isfinite(joules):
        return "–"
    if joules < 999.5:
        return f"{format_number(joules, 3)} J"
    return f"{format_number(joules / 1e3, 3)} kJ" if joules < 3.6e5 else f"{format_number(joules / 3.6e6, 3)} kWh"


def format_share(share: float | None) -> str:
    """Write a share as whole percents."""
    return "–" if share is None else f"{100 * share:.0f}\u00a0%"
