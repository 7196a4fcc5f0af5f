"""A step's answer in a line, as a reader sees it."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.scenario.words import answered


def call(status: int = 200, **more: Any) -> dict[str, Any]:
    return {"status": status, "bytes": 164, "error": "", "headers": {}, **more}


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (call(308, headers={"location": "https://a.example/x"}, body="<html>moved</html>"),
         "308 to https://a.example/x, 164 bytes"),
        (call(200, headers={"location": "/made"}, body="ok\n"), "200, 164 bytes: ok"),
        (call(503, body='{\n\t"localEndpoints": 0\n}'), '503, 164 bytes: { "localEndpoints": 0 }'),
        (call(404, body="<html>\r\nno</html>"), "404, 164 bytes"),
        (call(200, servedBy="web", clientAddress="10.0.0.1", body="{}"), "200 from web, which saw 10.0.0.1, 164 bytes"),
        (call(0, error="ECONNREFUSED"), "failed: ECONNREFUSED"),
        (call(0, error="Empty reply from server"), "curl: (52) Empty reply from server"),
        (call(0, error="SSL certificate problem: self-signed certificate"),
         "curl: (60) SSL certificate problem: self-signed certificate"),
    ],
)  # fmt: skip
def test_an_answer_over_http_in_a_line(result: dict[str, Any], line: str) -> None:
    assert answered("http", result, []) == [line]
