"""A figure of a benchmark with its spread and its bar, as a row of the table in the documentation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure; ``bar`` is what it may be at most (or at least)."""

    what: str
    figure: float
    spread: str = ""
    bar: float | None = None
    least: bool = False  # whether the bar is a lower one
    unit: str = ""

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        met = self.figure >= self.bar if self.least else self.figure <= self.bar
        return f"{'at least' if self.least else 'at most'} {self.bar:g}{self.unit}: {'met' if met else 'missed'}"

    def markdown(self) -> str:
        return f"| {self.what} | {self.figure:.4g}{self.unit} | {self.spread} | {self.verdict} |"


def spread_of(quartiles: list[float], unit: str = "") -> str:
    return "-".join(f"{q:.3g}" for q in quartiles) + unit
