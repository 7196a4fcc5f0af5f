"""Lines of cells, two spaces between columns: a column is as wide as its widest cell in the lines that touch.

    Name:      web          a line without that cell ends the column, and a wider one may begin below
    Selector:  app=web

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go tabbedString(), Go's text/tabwriter
"""

from __future__ import annotations

GAP = 2
STEP = "  "


class Writer:
    """What a describer writes. `level` is how deep a line is indented."""

    def __init__(self) -> None:
        self._parts: list[list[list[str]]] = [[]]

    def line(self, level: int, *cells: object) -> None:
        """A line. Cells hold no tab; the last may have line ends in it."""
        text = STEP * level + "\t".join(map(str, cells))
        self._parts[-1] += [line.split("\t") for line in text.split("\n")]

    def flush(self) -> None:
        """Columns end here."""
        self._parts.append([])

    @property
    def text(self) -> str:
        return "".join(aligned(lines) for lines in self._parts)


def aligned(lines: list[list[str]]) -> str:
    """Each line's cells but its last padded to their columns."""
    widths = [[0] * (len(cells) - 1) for cells in lines]
    for column in range(max(map(len, widths), default=0)):
        run: list[int] = []
        for at in range(len(lines) + 1):
            if at < len(lines) and len(widths[at]) > column:
                run.append(at)
                continue
            for each in run:
                widths[each][column] = max(len(lines[i][column]) for i in run) + GAP
            run = []
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(cells[:-1], wide, strict=True)) + cells[-1] + "\n"
        for cells, wide in zip(lines, widths, strict=True)
    )
