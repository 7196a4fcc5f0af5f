"""Amounts of CPU and memory, as a manifest writes them and as they are printed.

    500m  0.5 → 500m   1Gi  1024Mi → 1Gi   1500k  1.5M → 1500k   0

Kubernetes: staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go
Differs: exponents (``1e3``) are printed with a letter.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple

DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


class Quantity(NamedTuple):
    value: Fraction = Fraction(0)
    binary: bool = False
    """Whether it is printed in powers of 1024."""

    def __str__(self) -> str:
        value = self.value
        if not value:
            return "0"
        if self.binary and abs(value) >= 1024 and value.denominator == 1:
            for unit, power in reversed(BINARY.items()):
                if value % (1 << power) == 0:
                    return f"{value // (1 << power)}{unit}"
            return str(value)
        for unit, power in reversed(DECIMAL.items()):
            if (scaled := value / Fraction(10) ** power).denominator == 1:
                return f"{scaled}{unit}"
        return f"{-(-value * 10**9 // 1)}n"

    def plus(self, other: Quantity) -> Quantity:
        return Quantity(self.value + other.value, self.binary if self.value else other.binary)


def read(text: Any) -> Quantity | None:
    """``500m``, ``64Mi``, ``1e3``; None of what is no amount. Kubernetes: ParseQuantity()"""
    found = re.fullmatch(r"([+-]?\d*\.?\d*)(?:[eE]([+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE]?))", str(text).strip())
    if found is None or not any(map(str.isdigit, found[1])):
        return None
    number, exponent, unit = Fraction(found[1]), found[2], found[3] or ""
    if unit in BINARY:
        return Quantity(number * (1 << BINARY[unit]), binary=True)
    return Quantity(number * Fraction(10) ** (int(exponent) if exponent else DECIMAL[unit]))


def parse(text: Any) -> Quantity:
    """The same; what is no amount is nothing."""
    return read(text) or Quantity()


def share(part: Quantity, whole: Quantity) -> int:
    """Percent, cut to an integer; 0 of nothing."""
    return int(part.value / whole.value * 100) if whole.value else 0
