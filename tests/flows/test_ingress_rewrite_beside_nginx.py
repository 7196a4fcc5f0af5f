"""`rewrite-target` beside nginx' own `rewrite`: what the backend is asked for, or where the client is sent."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from ingress_lab import Lab, free_port, run
from ingress_objects import ingress
from real_nginx import NGINX, WHY_NOT, Nginx

pytestmark = pytest.mark.skipif(NGINX is None, reason=WHY_NOT)
RULES = [
    (r"/shop(/|$)(.*)", "/$2"), (r"/api/v(\d+)/(.*)", "/$2?v=$1"), ("/x", "/fixed"), ("/q(.*)", "/?p=$1"),
    ("/deep/(.*)", "/a/b/$1/"), ("/nine(.*)", "http://other.example/$1"), ("/e(.*)", "$1"),
]  # fmt: skip
URLS = [
    "/shop", "/shop/", "/shop/a/b", "/SHOP/A", "/shopping", "/shop/a%20b", "/shop/a%2Fb", "/shop/%C3%A4",
    "/shop/a+b?x=1", "/shop?x=1&y=%20", "/shop//a", "/shop/a;b=c,d", "/shop/a%3Fb", "/shop/a%23b", '/shop/"<>^`{|}',
    "/shop/%25", "/shop/a&b", "/shop/~a*", "/shop/'(a)", "/api/v2/users", "/api/v2/users?a=b", "/x", "/x/y?z",
    "/quark", "/q%20a", "/q+a&b", "/qa/b?c=d", "/q%26;%3B", "/deep/a", "/deep/a?b", "/deep/%3f", "/nine",
    "/nine/a?b=c", "/e/f", "/e", "/e?x",
]  # fmt: skip
SERVER = """
  server {
    listen 127.0.0.1:%(port)d; server_name r%(number)d.example;
    location ~* "^%(path)s" { rewrite "(?i)%(path)s" %(goal)s break; proxy_pass http://web; }
    location / { return 404; }
  }
}
"""


async def fares(lab: Lab, port: int, host: str, url: str) -> tuple[int, str, list[str]]:
    """The status, the Location, and what the backend was asked for."""
    before = len(lab.web.requests)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head = (await reader.read()).decode("latin-1").partition("\r\n\r\n")[0]
    writer.close()
    moved = re.search(r"Location: (.*)", head)
    return int(head.split()[1]), moved[1].strip() if moved else "", [asked[1] for asked in lab.web.requests[before:]]


def test_a_path_is_rewritten_as_nginx_rewrites_it(tmp_path: Path) -> None:
    objects = [
        ingress(f"r{n}", {f"r{n}.example": {path: "web:80"}}, kind="ImplementationSpecific", rewrite_target=goal)
        for n, (path, goal) in enumerate(RULES)
    ]

    async def main() -> None:
        async with Lab(*objects) as lab:
            nginx = Nginx(tmp_path, free_port(), lab.web.port)
            conf = (tmp_path / "nginx.conf").read_text().rstrip().removesuffix("}")
            for number, (path, goal) in enumerate(RULES):
                conf += (SERVER % {"port": nginx.port, "number": number, "path": path, "goal": goal}).rstrip()
                conf = conf.removesuffix("}")
            (tmp_path / "nginx.conf").write_text(conf + "}\n")
            async with nginx:
                for number, rule in enumerate(RULES):
                    for url in URLS:
                        host = f"r{number}.example"
                        theirs, ours = await fares(lab, nginx.port, host, url), await fares(lab, lab.port, host, url)
                        assert ours == theirs, (rule, url)

    run(main(), 120.0)
