"""`kubectl get`, `version`, `api-resources`: what the API server knows, in its own columns.

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/get/get.go, staging/src/k8s.io/cli-runtime/pkg/printers/tableprinter.go
Not modelled: -o custom-columns and go-template, --sort-by
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import yaml

from k8semu.apps.kubectl.main import Failed, Session
from k8semu.kube.api.client import path_of
from k8semu.kube.api.discovery import VERSION
from k8semu.kube.api.resources import RESOURCES, TABLE, Resource, find

TABLE_TYPE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
OUTPUTS = ("", "wide", "name", "json", "yaml", "jsonpath")
GAP = 3


def resources_of(text: str) -> list[Resource]:
    """The kinds that ``pods,svc`` or ``all`` names; Failed if there is no such kind."""
    found: list[Resource] = []
    for word in text.split(","):
        if word == "all":
            found += [resource for resource in TABLE if "all" in resource.categories]
            continue
        resource = find(word)
        if resource is None:
            raise Failed(f'error: the server doesn\'t have a resource type "{word}"')
        found.append(resource)
    return found


async def get(session: Session) -> int:
    """`kubectl get KINDS [NAME…]`, `kubectl get KIND/NAME…`, `kubectl get --raw PATH`."""
    line = session.line
    if line.flags.get("raw"):
        session.terminal.write(_text(await session.client.request("GET", line.flags["raw"])))
        return 0
    if not line.rest:
        raise Failed("error: Required resource not specified.\n"
                     'Use "kubectl api-resources" for a complete list of supported resources.')  # fmt: skip
    if line.flags.get("output", "").partition("=")[0] not in OUTPUTS:
        raise Failed(f"error: -o {line.flags['output']} is not modelled; there are: {', '.join(OUTPUTS[1:])}")
    asked: list[tuple[Resource, str]] = []
    if "/" in line.rest[0]:
        for word in line.rest:
            kind, _, name = word.partition("/")
            asked.append((resources_of(kind)[0], name))
    else:
        names = line.rest[1:] or [""]
        asked = [(resource, name) for resource in resources_of(line.rest[0]) for name in names]
    if line.on("watch"):
        if line.flags.get("output", "") not in ("", "wide"):
            raise Failed("error: --watch prints tables here: -o wide, or none")
        from k8semu.apps.kubectl.watch import watch

        return await watch(session, asked)
    kinds = {resource.plural for resource, _ in asked}
    return await _show(session, asked, with_kind=len(kinds) > 1)


async def _show(session: Session, asked: list[tuple[Resource, str]], with_kind: bool) -> int:
    output = session.line.flags.get("output", "")
    if output in ("json", "yaml", "name") or output.startswith("jsonpath"):
        found = [await session.client.request("GET", path_to(session, *each)) for each in asked]
        session.terminal.write(_printed(found, output))
        return 0
    parts: list[str] = []
    by_kind: dict[str, list[Any]] = {}
    for resource, name in asked:
        table = await session.client.request("GET", path_to(session, resource, name), accept=TABLE_TYPE)
        by_kind.setdefault(resource.plural, []).append(table)
    for plural, tables in by_kind.items():
        rows = [row for table in tables for row in table["rows"] or ()]
        if rows:
            resource = RESOURCES[plural]
            prefix = f"{resource.singular}{'.' + resource.group if resource.group else ''}/" if with_kind else ""
            parts.append(_table(session, tables[0]["columnDefinitions"] or [], rows, prefix, resource.namespaced))
    if not parts:
        where = "" if session.line.on("all-namespaces") or not asked[0][0].namespaced else (
            f" in {session.line.namespace} namespace.")  # fmt: skip
        session.terminal.error(f"No resources found{where}")
    session.terminal.write("\n".join(parts))
    return 0


def path_to(
    session: Session, resource: Resource, name: str, more: dict[str, str] | None = None,
    fields: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """What is asked for. `more`: options besides the selectors; `fields`: to be selected by."""
    line = session.line
    namespace = None if line.on("all-namespaces") or not resource.namespaced else line.namespace
    keys = (("selector", "labelSelector"), ("field-selector", "fieldSelector"))
    query = {key: line.flags[flag] for flag, key in keys if line.flags.get(flag)}
    if fields:
        said = [f"{key}={value}" for key, value in fields.items()]
        query["fieldSelector"] = ",".join(filter(None, [query.get("fieldSelector"), *said]))
    query |= more or {}
    text = f"?{urlencode(query)}" if query else ""
    return f"{path_of(resource.plural, namespace, name)}{text}"


def _table(session: Session, columns: list[Any], rows: list[Any], prefix: str, namespaced: bool) -> str:
    head, cells = cells_of(session, columns, rows, prefix, namespaced)
    return columns_of([] if session.line.on("no-headers") else head, cells)


def cells_of(
    session: Session, columns: list[Any], rows: list[Any], prefix: str, namespaced: bool
) -> tuple[list[str], list[list[str]]]:
    """The head of a table and its rows, with the columns that are asked for."""
    line = session.line
    shown = [i for i, column in enumerate(columns) if not column.get("priority") or line.flags.get("output") == "wide"]
    head = [columns[i]["name"].upper() for i in shown]
    cells = [[str(row["cells"][i]) for i in shown] for row in rows]
    for at in [at for at, i in enumerate(shown) if columns[i].get("format") == "name"]:
        for row in cells:
            row[at] = prefix + row[at]
    if line.on("show-labels"):
        head.append("LABELS")
        for row, known in zip(cells, rows, strict=True):
            labels = (known["object"]["metadata"].get("labels") or {}).items()
            row.append(",".join(f"{key}={value}" for key, value in sorted(labels)) or "<none>")
    if line.on("all-namespaces") and namespaced:
        head.insert(0, "NAMESPACE")
        for row, known in zip(cells, rows, strict=True):
            row.insert(0, known["object"]["metadata"].get("namespace", ""))
    return head, cells


def columns_of(head: list[str], rows: list[list[str]]) -> str:
    """Rows of cells, three spaces between columns. Kubernetes: cli-runtime GetNewTabWriter()."""
    lines = [head, *rows] if head else rows
    widths = [max(len(row[i]) for row in lines) + GAP for i in range(len(lines[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)] for row in lines]
    return "".join("".join(cells) + row[-1] + "\n" for cells, row in zip(padded, lines, strict=True))


def _printed(found: list[Any], output: str) -> str:
    flat = [item for each in found for item in (_items(each) if "items" in each else [each])]
    if output == "name":
        return "".join(f"{_name_of(item)}\n" for item in flat)
    whole = found[0] if len(found) == 1 and "items" not in found[0] else {
        "apiVersion": "v1", "items": flat, "kind": "List", "metadata": {"resourceVersion": ""}}  # fmt: skip
    if output.startswith("jsonpath"):
        return _by_template(output.partition("=")[2], whole)
    if output == "json":
        return json.dumps(whole, indent=4, sort_keys=True) + "\n"
    return str(yaml.dump(whole, Dumper=_GoDumper, sort_keys=True, width=1 << 20, allow_unicode=True))


def _by_template(template: str, whole: Any) -> str:
    from k8semu.apps.kubectl.jsonpath import JsonPathError, render

    if not template:
        raise Failed("error: template format specified but no template given")
    try:
        return render(template, whole)
    except JsonPathError as error:
        raise Failed(f"error: error parsing jsonpath {template}, {error}") from None
    except RecursionError:
        raise Failed("error: error parsing jsonpath: brackets in brackets, too many") from None


class _GoDumper(yaml.SafeDumper):
    """YAML as Go writes it: text of several lines as a block, quoted doubly where it would be a number or a date."""

    def text(self, text: str) -> yaml.ScalarNode:
        tag = self.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        plain = tag == "tag:yaml.org,2002:str"
        style = '"' if not plain or text in ("y", "n", "Y", "N") else "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_GoDumper.add_representer(str, _GoDumper.text)


def _items(each: Any) -> list[Any]:
    kind = each["kind"].removesuffix("List")
    return [{"apiVersion": each["apiVersion"], "kind": kind, **item} for item in each["items"]]


def _name_of(item: Any) -> str:
    group = item["apiVersion"].rpartition("/")[0]
    return f"{item['kind'].lower()}{'.' + group if group else ''}/{item['metadata']['name']}"


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body, separators=(",", ":")) + "\n"


async def version(session: Session) -> int:
    """`kubectl version`: the client is of the server's own version."""
    session.terminal.print(f"Client Version: {VERSION['gitVersion']}")
    if not session.line.on("client"):
        said = await session.client.request("GET", "/version")
        session.terminal.print(f"Server Version: {said['gitVersion']}")
    return 0


async def api_resources(session: Session) -> int:
    """`kubectl api-resources`, as discovery has them."""
    rows = []
    for group in ("v1", *sorted({resource.api_version for resource in TABLE if resource.group})):
        said = await session.client.request("GET", f"/api/{group}" if group == "v1" else f"/apis/{group}")
        rows += [
            [each["name"], ",".join(each.get("shortNames") or ()), group, str(each["namespaced"]).lower(), each["kind"]]
            for each in said["resources"] if "/" not in each["name"]
        ]  # fmt: skip
    head = [] if session.line.on("no-headers") else ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    session.terminal.write(columns_of(head, rows))
    return 0
