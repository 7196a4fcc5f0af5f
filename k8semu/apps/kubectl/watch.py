"""`kubectl get --watch`: the rows as they are, and a row for each change, as it comes.

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/get/get.go watch()
Differs: a connection that ends is not made again.
"""

from __future__ import annotations

import json
from typing import Any

from k8semu.apps.kubectl.get import GAP, TABLE_TYPE, cells_of, path_to
from k8semu.apps.kubectl.main import Failed, Session
from k8semu.kube.api.resources import Resource

JSON = dict[str, Any]


class _Rows:
    """Columns that are as wide as the widest cell so far."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def text(self, rows: list[list[str]]) -> str:
        for row in rows:
            self.widths += [0] * (len(row) - 1 - len(self.widths))
            self.widths = [max(width, len(cell) + GAP) for width, cell in zip(self.widths, row, strict=False)]
        return "".join(
            "".join(cell.ljust(width) for cell, width in zip(row[:-1], self.widths, strict=True)) + row[-1] + "\n"
            for row in rows
        )


async def watch(session: Session, asked: list[tuple[Resource, str]]) -> int:
    """Until it is interrupted, or the server ends it."""
    if len(asked) != 1:
        raise Failed("error: you may only specify a single resource type" if len({r.plural for r, _ in asked}) > 1 else
                     "error: you may only specify a single resource of a type, or all of it")  # fmt: skip
    resource, name = asked[0]
    printed, headed = _Rows(), session.line.on("no-headers")
    columns: list[JSON] = []
    first = await session.client.request("GET", path_to(session, resource, name), accept=TABLE_TYPE)
    version = first["metadata"]["resourceVersion"]
    selected = {"metadata.name": name} if name else {}
    path = path_to(session, resource, "", {"resourceVersion": version, "watch": "true"}, selected)
    rest = b""

    def show(table: JSON) -> None:
        nonlocal columns, headed
        columns = table["columnDefinitions"] or columns
        head, rows = cells_of(session, columns, table["rows"] or [], "", resource.namespaced)
        if rows:
            session.terminal.write(printed.text(rows if headed else [head, *rows]))
            headed = True

    show(first)
    async for data in session.client.stream(path, TABLE_TYPE):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                show(event["object"])
    return 0
