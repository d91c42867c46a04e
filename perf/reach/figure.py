"""A measured figure and its bound."""

from dataclasses import dataclass


class Unable(Exception):
    """A scenario cannot be measured here; says why."""


@dataclass(frozen=True)
class Figure:
    label: str
    value: float
    unit: str = ""
    below: float | None = None
    """The figure passes when it is smaller than this ..."""
    at_most: float | None = None
    """... or not larger than this. Without a bound it is only told."""

    @property
    def passed(self) -> bool | None:
        if self.below is not None:
            return self.value < self.below
        if self.at_most is not None:
            return self.value <= self.at_most
        return None

    def __str__(self) -> str:
        number = (
            f"{self.value:,.0f}" if float(self.value).is_integer() or abs(self.value) >= 1000 else f"{self.value:.2f}"
        )
        text = f"{self.label}: {number} {self.unit}".rstrip()
        if self.passed is None:
            return f"      {text}"
        bound = f"bound < {self.below:g}" if self.below is not None else f"bound <= {self.at_most:g}"
        return f"{'pass' if self.passed else 'FAIL'}  {text}  ({bound})"
