"""Domain names: a tuple of labels without the root, ``(b"web", b"default")``, and the text people write.

RFC: 1035 section 5.1 (``\\.`` and ``\\DDD`` stand for bytes that would not print)
"""

from __future__ import annotations

Name = tuple[bytes, ...]
ROOT: Name = ()
MAX_NAME, MAX_LABEL = 255, 63
_ESCAPED = frozenset(b'."();@$\\')
_PLAIN = frozenset(range(0x21, 0x7F)) - _ESCAPED


def parse_name(text: str) -> Name:
    """The labels of ``web.default.svc.cluster.local.``; ValueError if it is none. The last dot may be missing."""
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII")
    if "\\" not in text:
        raw = text.removesuffix(".").encode()
        labels = tuple(raw.split(b".")) if raw else ()
    else:
        labels = _unescape(text)
    if any(not 0 < len(label) <= MAX_LABEL for label in labels) or text.startswith("..") or wire_length(labels) > 255:
        raise ValueError(f"{text!r} is no domain name")
    return labels


def _unescape(text: str) -> Name:
    labels, label, i = [], bytearray(), 0
    raw = text.encode()
    while i < len(raw):
        byte = raw[i]
        if byte == 0x5C and raw[i + 1 : i + 4].isdigit() and len(raw[i + 1 : i + 4]) == 3:
            value = int(raw[i + 1 : i + 4])
            if value > 255:
                raise ValueError(f"{text!r} is no domain name")
            label.append(value)
            i += 4
        elif byte == 0x5C and i + 1 < len(raw):
            label.append(raw[i + 1])
            i += 2
        elif byte == 0x2E:
            labels.append(bytes(label))
            label.clear()
            i += 1
        else:
            label.append(byte)
            i += 1
    return tuple([*labels, bytes(label)] if label else labels)


def name_text(name: Name) -> str:
    """``web.default.svc.cluster.local.``; the root is ``.``."""
    if not name:
        return "."
    return "".join(_label_text(label) + "." for label in name)


def _label_text(label: bytes) -> str:
    if _PLAIN.issuperset(label):
        return label.decode()
    return "".join(
        chr(b) if b in _PLAIN else f"\\{chr(b)}" if b in _ESCAPED else f"\\{b:03d}" for b in label
    )  # fmt: skip


def lower(name: Name) -> Name:
    """As names compare: ASCII letters without their case (RFC 4343)."""
    return tuple([label.lower() for label in name])


def wire_length(name: Name) -> int:
    """Bytes without compression."""
    return sum(len(label) + 1 for label in name) + 1


def is_under(name: Name, zone: Name) -> bool:
    """Is `name` `zone`, or below it? Both in lower case."""
    return not zone or name[-len(zone) :] == zone


def reverse_address(name: Name) -> str:
    """The address that ``10.0.96.10.in-addr.arpa`` (or ip6.arpa) asks about; '' if it is not one whole address."""
    import ipaddress

    name = lower(name)
    if name[-2:] == (b"in-addr", b"arpa") and len(name) == 6:
        text = b".".join(reversed(name[:4])).decode("latin-1")
    elif name[-2:] == (b"ip6", b"arpa") and len(name) == 34:
        digits = b"".join(reversed(name[:32])).decode("latin-1")
        text = ":".join(digits[i : i + 4] for i in range(0, len(digits), 4))
    else:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def reverse_name(address: str) -> Name:
    """``10.0.96.10.in-addr.arpa`` for 10.96.0.10."""
    import ipaddress

    return parse_name(ipaddress.ip_address(address).reverse_pointer)
