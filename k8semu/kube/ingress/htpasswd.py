"""Password files, and whether a password fits an entry.

    name:$apr1$salt$…   htpasswd (MD5, 1000 rounds)          name:{SHA}…     base64 of SHA-1
    name:$1$salt$…      crypt(3) MD5                         name:{SSHA}…    with a salt
    name:$5$… $6$…      crypt(3) SHA-256, SHA-512            name:{PLAIN}…   the password itself
    name:$2y$05$…       bcrypt (`htpasswd -B`)

nginx: src/core/ngx_crypt.c, src/http/modules/ngx_http_auth_basic_module.c
Differs: an entry in a form that is not listed fits no password (nginx asks crypt(3), which knows DES, too).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_ROUNDS = 1_000_000


def parse(text: str) -> dict[str, str]:
    """The entries of a password file by user; comments and lines without a colon are passed over."""
    users: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        if colon and not line.startswith("#"):
            users.setdefault(name, rest.partition(":")[0].rstrip())
    return users


def fits(entry: str, password: str) -> bool:
    """Whether `password` is the one that an entry was made from."""
    secret = password.encode("utf-8", "surrogateescape")
    if entry.startswith("{"):
        return _fits_tagged(entry, secret)
    match = re.fullmatch(r"(\$(?:apr1|1)\$)([^$]{0,8})[^$]*\$.+", entry)
    if match:
        return hmac.compare_digest(md5_crypt(secret, match[2].encode(), match[1].encode()), entry.encode())
    match = re.fullmatch(r"\$([56])\$(?:rounds=(\d{1,9})\$)?([^$]{0,16})[^$]*\$.+", entry)
    if match:
        rounds = None if match[2] is None else int(match[2])
        if rounds is not None and rounds > MAX_ROUNDS:
            return False
        return hmac.compare_digest(sha_crypt(secret, match[3].encode(), match[1], rounds), entry.encode())
    if re.fullmatch(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", entry):
        from k8semu.kube.ingress.bcrypt import bcrypt

        return hmac.compare_digest(bcrypt(secret, entry), entry.encode())
    return False


def _fits_tagged(entry: str, secret: bytes) -> bool:
    if entry.startswith("{PLAIN}"):
        return hmac.compare_digest(entry[7:].encode(), secret)
    try:
        if entry.startswith("{SHA}"):
            return hmac.compare_digest(base64.b64decode(entry[5:]), hashlib.sha1(secret).digest())
        if entry.startswith("{SSHA}"):
            raw = base64.b64decode(entry[6:])
            return hmac.compare_digest(raw[:20], hashlib.sha1(secret + raw[20:]).digest())
    except (binascii.Error, ValueError):
        pass
    return False


def _to64(value: int, count: int) -> bytes:
    return bytes(ALPHABET[value >> 6 * i & 63] for i in range(count))


def md5_crypt(secret: bytes, salt: bytes, magic: bytes) -> bytes:
    """``$apr1$SALT$…`` or ``$1$SALT$…``. glibc: crypt/md5-crypt.c; Apache: apr_md5_encode()"""
    inner = hashlib.md5(secret + salt + secret).digest()
    outer = hashlib.md5(secret + magic + salt)
    outer.update((inner * (len(secret) // 16 + 1))[: len(secret)])
    bits = len(secret)
    while bits:
        outer.update(b"\0" if bits & 1 else secret[:1])
        bits >>= 1
    final = outer.digest()
    for i in range(1000):
        parts = (secret if i & 1 else final) + (salt if i % 3 else b"") + (secret if i % 7 else b"")
        final = hashlib.md5(parts + (final if i & 1 else secret)).digest()
    order = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
    text = b"".join(_to64(final[a] << 16 | final[b] << 8 | final[c], 4) for a, b, c in order)
    return magic + salt + b"$" + text + _to64(final[11], 2)


def sha_crypt(secret: bytes, salt: bytes, kind: str, said: int | None) -> bytes:
    """``$5$…``, ``$6$…``; `said`: the rounds that the entry names. glibc: crypt/sha256-crypt.c, sha512-crypt.c"""
    digest = hashlib.sha256 if kind == "5" else hashlib.sha512
    size = 32 if kind == "5" else 64
    rounds = 5000 if said is None else max(1000, said)
    inner = digest(secret + salt + secret).digest()
    outer = digest(secret + salt + _stretched(inner, len(secret)))
    bits = len(secret)
    while bits:
        outer.update(inner if bits & 1 else secret)
        bits >>= 1
    final = outer.digest()
    word = _stretched(digest(secret * len(secret)).digest(), len(secret))
    pinch = _stretched(digest(salt * (16 + final[0])).digest(), len(salt))
    for i in range(rounds):
        parts = (word if i & 1 else final) + (pinch if i % 3 else b"") + (word if i % 7 else b"")
        final = digest(parts + (final if i & 1 else word)).digest()
    head = b"$" + kind.encode() + b"$" + (b"rounds=%d$" % rounds if said is not None else b"")
    return head + salt + b"$" + (_text32(final) if size == 32 else _text64(final))


def _stretched(data: bytes, count: int) -> bytes:
    return (data * (count // len(data) + 1))[:count]


def _text32(final: bytes) -> bytes:
    text, a, b, c = b"", 0, 10, 20
    for _ in range(10):
        text += _to64(final[a] << 16 | final[b] << 8 | final[c], 4)
        a, b, c = c + 1, a + 1, b + 1
    return text + _to64(final[31] << 8 | final[30], 3)


def _text64(final: bytes) -> bytes:
    text, a, b, c = b"", 0, 21, 42
    for _ in range(21):
        text += _to64(final[a] << 16 | final[b] << 8 | final[c], 4)
        a, b, c = b + 1, c + 1, a + 1
    return text + _to64(final[63], 2)
