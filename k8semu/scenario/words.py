"""A step in words: as one would type it on the machine, and its answer in a line or a few."""

from __future__ import annotations

from typing import Any


def asked(kind: str, action: Any) -> str:
    """The step as one would type it on the machine."""
    where = getattr(action, "from_", "") or getattr(action, "on", "") or getattr(action, "node", "")
    if kind == "ping":
        return f"{where}$ ping -c {action.count}{f' -s {action.size}' if action.size != 56 else ''} {action.to}"
    if kind == "http":
        times = f"  ({action.count} times)" if action.count > 1 else ""
        return f"{where}$ curl {_curl_words(action)}{action.url}{times}"
    if kind in ("tcp", "udp"):
        flag = "-u " if kind == "udp" else ""
        return f"{where}$ nc {flag}{action.to.replace(':', ' ')}"
    if kind == "dns":
        return f"{where}$ dig +search {f'@{action.server} ' if action.server else ''}{action.name} {action.type}"
    if kind == "exec":
        return f"{where}$ {action.command}"
    if kind == "kubectl":
        return f"{where}$ kubectl {action.command}{' &' if action.background else ''}"
    if kind == "interrupt":
        return f"Ctrl-C: {action.step}"
    if kind == "program":
        args = ", ".join(f"{key}={value}" for key, value in action.args.items())
        return f"{where}$ {action.function.rpartition('.')[2]}({args})"
    if kind == "listen":
        return f"{where}$ nc -l {action.port}"
    if kind == "cni":
        return f"{where}: CNI {action.command} {action.container}"
    if kind == "scale":
        return f"$ kubectl scale {action.workload} --replicas={action.replicas}"
    if kind == "kill":
        return f"$ kubectl delete pod {action.pod} --grace-period=0 --force"
    if kind == "delete":
        return f"$ kubectl delete {action.object}"
    if kind == "apply":
        return f"$ kubectl apply   {', '.join(m['kind'] + ' ' + m['metadata']['name'] for m in action)}"
    if kind == "node":
        return f"{action.name}: {'its cable is back' if action.up else 'its cable is pulled'}"
    if kind == "link":
        return _link_asked(action)
    if kind == "wait":
        return f"wait {action:g} s"
    return f"{kind} {where}"


def _curl_words(action: Any) -> str:
    words = [f"-X {action.method}"] if action.method else []
    words += [f"-u {action.user}"] if action.user else []
    words += [f"-H '{name}: {value}'" for name, value in action.headers.items()]
    words += [f"-d '{action.body[:40]}'"] if action.body else []
    words += ["-k"] if action.insecure else [f"--cacert {action.cacert}"] if action.cacert else []
    return "".join(f"{word} " for word in words)


def _link_asked(action: Any) -> str:
    """A change of a link in the words of `ip`, `tc` and `bridge`."""
    calls = []
    if action.up is not None:
        calls.append(f"ip link set dev {action.dev} {'up' if action.up else 'down'}")
    if action.mtu is not None:
        calls.append(f"ip link set dev {action.dev} mtu {action.mtu}")
    faults = [f"loss {action.loss * 100:g}%"] if action.loss else []
    faults += [f"delay {action.delay * 1000:g}ms"] if action.delay else []
    if faults:
        calls.append(f"tc qdisc replace dev {action.dev} root netem {' '.join(faults)}")
    elif action.loss is not None or action.delay is not None:
        calls.append(f"tc qdisc del dev {action.dev} root")
    said = [f"{action.on}$ {'; '.join(calls)}"] if calls else []
    if action.hairpin is not None:
        said.append(f"$ bridge link set dev (the port of {action.on}) hairpin {'on' if action.hairpin else 'off'}")
    return "   ".join(said)


def parts(expect: Any) -> list[str]:
    """What the answer was expected to contain."""
    wanted = expect.contains if expect is not None else None
    return [wanted] if isinstance(wanted, str) else list(wanted or [])


ROWS = 20


def _excerpt(rows: list[str], parts: list[str]) -> list[str]:
    """A long output in a few rows: around those that were expected, or else its beginning."""
    if len(rows) <= ROWS:
        return rows
    named = [number for number, row in enumerate(rows) if any(part in row for part in parts)]
    keep = sorted({near for number in named for near in range(max(0, number - 1), min(len(rows), number + 2))})[:ROWS]
    said, last = [], -1
    for number in keep or range(ROWS):
        if number > last + 1:
            said.append(f"… {number - last - 1} lines")
        said.append(rows[number])
        last = number
    return said + ([f"… {len(rows) - last - 1} more lines"] if last + 1 < len(rows) else [])


def answered(kind: str, result: Any, wanted: list[str]) -> list[str]:
    """The answer in a line or a few; of a long one, what was `wanted`."""
    calls = result.get("calls") or [result]
    if kind in ("exec", "kubectl", "interrupt"):
        rows: list[str] = result["output"].rstrip("\n").splitlines()
        ended = [f"exit status {result['code']}"] if result["code"] else []
        return _excerpt(rows, wanted) + ended or ["(no output)"]
    if kind == "ping":
        return [line for line in result["lines"][1:] or result["lines"] if line and not line.startswith("---")]
    rows = [_answer_line(kind, call) for call in calls[:8]]
    more = [f"… {len(calls) - 8} more"] if len(calls) > 8 else []
    told = _returned(result) if kind == "program" else _shares(calls)
    return [row for row in rows if row] + more + told


def _shares(calls: list[dict[str, Any]]) -> list[str]:
    """How many of several calls each Pod answered: ``shares: account-1 2, account-2 2``."""
    names = [call["servedBy"] for call in calls if call.get("servedBy")]
    if len(calls) < 3 or len(set(names)) < 2:
        return []
    return ["shares: " + ", ".join(f"{name} {names.count(name)}" for name in sorted(set(names)))]


def _returned(result: dict[str, Any]) -> list[str]:
    """What a program returned besides its calls: ``shares: account-1 2, account-2 2``."""
    rows = []
    for key, value in result.items():
        if key == "calls" or value in ("", [], {}):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        rows.append(f"{key}: {value}")
    return rows


def _names(call: dict[str, Any]) -> str:
    return " then ".join(call["tried"])


def _called(call: dict[str, Any]) -> str:
    """A call that a client balanced itself."""
    tried = call.get("tried", [])
    first = f", after {' and '.join(tried[:-1])} failed" if len(tried) > 1 else ""
    return f"{call['status']} from {call['servedBy']} at {call['instance']}{first}"


def _short_body(call: dict[str, Any]) -> str:
    """A body that says something in a line, or would but for its blanks; pages are for browsers."""
    body = " ".join(call.get("body", "").split())
    said = 0 < len(body) <= 140 and body.isprintable() and not body.startswith("<")
    return f": {body}" if said else ""


CURL_EXITS = {
    "Empty reply": 52, "Received HTTP/0.9": 1, "Weird server reply": 8, "transfer closed": 18,
    "Illegal or missing": 56, "SSL certificate problem": 60, "SSL: no alternative": 60, "error setting": 77,
}  # fmt: skip
"""The exit status that goes with what curl says, by how that begins."""


def _curl_failed(error: str) -> str:
    """``curl: (52) Empty reply from server``; '' for the name of an errno."""
    if " " not in error:
        return ""
    code = next((code for begin, code in CURL_EXITS.items() if error.startswith(begin)), 35)
    return f"curl: ({code}) {error}"


def _answer_line(kind: str, call: dict[str, Any]) -> str:
    if kind == "http" and _curl_failed(call.get("error", "")):
        return _curl_failed(call["error"])
    if call.get("error"):
        return f"failed: {call['error']}{f', tried {_names(call)}' if call.get('tried') else ''}"
    if kind == "http":
        seen = f", which saw {call['clientAddress']}" if call.get("clientAddress") else ""
        who = f" from {call['servedBy']}" if call.get("servedBy") else ""
        there = call.get("headers", {}).get("location", "") if 300 <= call["status"] < 400 else ""
        sent = f" to {there}" if there else ""
        return f"{call['status']}{sent}{who}{seen}, {call['bytes']} bytes{'' if who else _short_body(call)}"
    if kind == "program":
        return _called(call) if "instance" in call else ""
    if kind in ("tcp", "udp"):
        return f"answered {call['reply']!r}"
    if kind == "dns":
        asked = len(call["asked"])
        after = f" after {asked} names" if asked > 1 else ""
        return f"{call['rcode']}{after}: {call['name']}{' is ' if call['answers'] else ''}{', '.join(call['answers'])}"
    if kind in ("scale", "kill", "apply", "delete"):
        changes = [f"{key}: {', '.join(call[key])}" for key in ("stopped", "started", "pending") if call[key]]
        reached = ", ".join(f"{name} {address}" for name, address in call.get("outside", {}).items())
        return "   ".join([*changes, f"outside: {reached}"] if reached else changes)
    if kind == "listen":
        return "the port was free"
    if kind == "cni":
        return f"ok{', address ' + call['address'] if call.get('address') else ''}"
    return ""
