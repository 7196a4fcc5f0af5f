"""`k8semu exec … -- nc …` and `… wget …`: in the words of OpenBSD's netcat and of busybox's wget."""

from __future__ import annotations

import re

import pytest
from cli_calls import k8semu

_NC = [
    ("-zv web 80", 0, "Connection to web (172.17.0.3) 80 port [tcp/http] succeeded!\n"),
    ("-zv 172.17.0.3 80", 0, "Connection to 172.17.0.3 80 port [tcp/http] succeeded!\n"),
    ("-z 172.17.0.3 80", 0, ""),
    ("-z 172.17.0.3 81", 1, ""),
    ("-v 172.17.0.3 81", 1, "nc: connect to 172.17.0.3 port 81 (tcp) failed: Connection refused\n"),
    ("-zv web 81", 1, "nc: connect to web (172.17.0.3) port 81 (tcp) failed: Connection refused\n"),
    ("-zv 172.17.0.3 79-80", 0, "nc: connect to 172.17.0.3 port 79 (tcp) failed: Connection refused\n"
                                "Connection to 172.17.0.3 80 port [tcp/http] succeeded!\n"),
    ("-zv -w 1 172.17.0.99 80", 1,
     "nc: connect to 172.17.0.99 port 80 (tcp) timed out: Operation now in progress\n"),
    ("-zv 172.17.0.99 http", 1, "nc: connect to 172.17.0.99 port 80 (tcp) failed: No route to host\n"),
    ("-zv nobody 80", 1, 'nc: getaddrinfo for host "nobody" port 80: Name or service not known\n'),
    ("-zvu 172.17.0.3 9", 1, ""),
    ("-zv 172.17.0.3", 1, "nc: missing port number\n"),
    ("-zv 172.17.0.3 99999", 1, "nc: port number too large: 99999\n"),
    ("-zv 172.17.0.3 x", 1, "nc: port number invalid: x\n"),
]  # fmt: skip
_WGET = [
    ("-qO- 172.17.0.3/x", 0, r'\{"servedBy": "web", .*"path": "/x", .*"user-agent": "Wget".*\}\n', ""),
    ("http://web/x", 0, "", r"Connecting to web \(172.17.0.3:80\)\nsaving to 'x'\n'x' saved\n"),
    ("-O - web:80", 0, r"\{.*\}\n", r"Connecting to web:80 \(172.17.0.3:80\)\nwriting to stdout\nwritten to stdout\n"),
    ("--spider web", 0, "", r"Connecting to web \(172.17.0.3:80\)\nremote file exists\n"),
    ("-qSO- web", 0, r"\{.*\}\n", r"  HTTP/1.1 200 OK\n(  [-\w]+: .*\n)+  \n"),
    ("-qO- web:81", 1, "", r"wget: can't connect to remote host \(172.17.0.3\): Connection refused\n"),
    ("-qO- -T 1 172.17.0.99", 1, "", r"wget: download timed out\n"),
    ("-qO- http://nobody/", 1, "", r"wget: bad address 'nobody'\n"),
    ("-qO- http://web/bytes/x", 1, "", r"wget: server returned error: HTTP/1.1 400 Bad Request\n"),
    ("-qO- https://web/", 1, "", r"wget: not an http or ftp url: https://web/\n"),
    ("-Z web", 1, "", r"wget: invalid option -- 'Z'\nUsage: wget .*\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "told"), _NC)
def test_netcat_says_whether_anybody_listens(words: str, code: int, told: str) -> None:
    assert k8semu("exec", "pod-same-node", "client", "--", "nc", *words.split()) == (code, "", told)


@pytest.mark.parametrize(("words", "code", "output", "told"), _WGET)
def test_wget_fetches_what_is_there(words: str, code: int, output: str, told: str) -> None:
    said = k8semu("exec", "pod-same-node", "client", "--", "wget", *words.split())
    assert said.code == code
    assert re.fullmatch(output, said.out)
    assert re.fullmatch(told, said.err)
