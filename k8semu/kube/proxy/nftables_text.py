"""The text for `nft -f -` while it grows, and what kube-proxy remembers of its sets and maps.

Kubernetes: pkg/proxy/nftables/proxier.go nftElementStorage; sigs.k8s.io/knftables objects.go, how things are written
"""

from __future__ import annotations

from k8semu.linux.core.commands import NftApply

TABLE = "ip kube-proxy"


class NftText:
    """Lines in the order in which they are written. `origin`: who asks for the rules and elements that follow."""

    __slots__ = ("lines", "origin", "origins")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.origins: list[tuple[str, str]] = []
        self.origin = "kube-proxy"

    def write(self, verb: str, kind: str, name: str, properties: str = "") -> None:
        """``add chain ip kube-proxy NAME { … }``."""
        self.lines.append(f"{verb} {kind} {TABLE} {name}" + (f" {{ {properties} ; }}" if properties else ""))

    def fresh_chain(self, name: str, comment: str = "") -> None:
        """A chain that exists from now on, and is empty."""
        self.write("add", "chain", name, f'comment "{comment}"' if comment else "")
        self.write("flush", "chain", name)

    def rule(self, chain: str, *words: object, comment: str = "") -> None:
        line = f"add rule {TABLE} {chain} {' '.join(str(word) for word in words if word != '')}"
        self._said(f'{line} comment "{comment}"' if comment else line)

    def element(self, verb: str, name: str, key: str, value: str = "", comment: str = "") -> None:
        """``add element ip kube-proxy service-ips { 10.96.0.20 . tcp . 80 : goto … }``."""
        said = f' comment "{comment}"' if comment else ""
        data = f" : {value}" if value else ""
        self._said(f"{verb} element {TABLE} {name} {{ {key}{said}{data} }}")

    def _said(self, line: str) -> None:
        self.lines.append(line)
        self.origins.append((line, self.origin))

    def command(self) -> NftApply:
        return NftApply(
            text="".join(f"{line}\n" for line in self.lines), origins=tuple(self.origins), origin="kube-proxy"
        )


class Elements:
    """What a set or map of the table holds: only what is new or gone is written."""

    __slots__ = ("_held", "_left", "kind", "name")

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self._held: dict[str, str] = {}
        self._left: dict[str, None] = {}

    def reset(self, text: NftText) -> None:
        """Begin anew: it is emptied."""
        text.write("flush", self.kind, self.name)
        self._held.clear()
        self._left.clear()

    def ensure(self, text: NftText, key: str, value: str = "", comment: str = "") -> None:
        """The element is there, with this value."""
        held = self._held.get(key)
        if held != value:
            if held is not None:
                text.element("delete", self.name, key)
            text.element("add", self.name, key, value, comment)
            self._held[key] = value
        self._left.pop(key, None)

    def clean(self, text: NftText) -> None:
        """Delete those that nobody asked for since the last time."""
        for key in sorted(self._left):
            text.element("delete", self.name, key)
            del self._held[key]
        self._left = dict.fromkeys(self._held)
