"""Password files: each form fits its password, and no other."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from k8semu.kube.ingress.htpasswd import fits, parse

ENTRIES = {
    "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/": "secret", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1": "secret",
    "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.": "secret",
    "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.": "secret",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=": "secret", "{PLAIN}secret": "secret",
    "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0": "secret",
    "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW": "U*U",
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_fits_its_password_only(entry: str) -> None:
    password = ENTRIES[entry]
    assert fits(entry, password)
    assert not fits(entry, password + "x")
    assert not fits(entry, "")


@pytest.mark.parametrize(
    "entry",
    ["", "secret", "secretsecret!", "{SHA}", "{SHA}*", "{MD5}secret", "$apr1$", "$9$a$b", "$2y$31$" + "." * 53,
    "$2y$05$.",
     "$6$rounds=999999999$a$b"],
)  # fmt: skip
def test_what_is_no_entry_fits_nobody(entry: str) -> None:
    assert not fits(entry, "secret")


def test_a_file_has_a_user_a_line() -> None:
    assert parse("# users\nfoo:a:more\n\nbar:b \nbad\nfoo:c\n") == {"foo": "a", "bar": "b"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)")
@pytest.mark.parametrize("kind", ["apr1", "1", "5", "6"])
def test_what_openssl_makes_of_a_password_fits_it(kind: str) -> None:
    for password in ("a", "äöü", "a long one, of more than sixty-four bytes, so that every digest comes round twice"):
        argv = ["openssl", "passwd", f"-{kind}", "-salt", "qwertyui", password]
        entry = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        assert fits(entry, password), entry
