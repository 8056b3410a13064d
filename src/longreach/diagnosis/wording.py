"""Numbers in sentences."""

import math


def counted(count: int, noun: str) -> str:
    """1 step, 2 steps."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def percent(share: float) -> str:
    """A share in percent, to two digits."""
    value = 100 * share
    if not math.isfinite(value):
        return "an unknown share"
    return f"{value:.0f}%" if 99.5 <= abs(value) < 1e6 else f"{value:.2g}%"


def factor(log: float) -> str:
    """exp(log) in digits, also where no float can hold it."""
    if math.isnan(log):
        return "an unknown number of"
    if math.isinf(log):
        return "infinitely many" if log > 0 else "0"
    if abs(log) < 9:
        return f"{math.exp(log):.3g}"
    power, rest = divmod(log / math.log(10), 1)
    return f"{10**rest:.1f}e{power:+.0f}"
