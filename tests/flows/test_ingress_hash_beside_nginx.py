"""The ring of `upstream-hash-by` beside nginx' own (`hash … consistent`): the same key at the same endpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from ingress_lab import Backend, free_port, run
from real_nginx import NGINX, WHY_NOT, Nginx

from k8semu.kube.ingress.choosing import Ring

pytestmark = pytest.mark.skipif(NGINX is None, reason=WHY_NOT)
CONF = """\
daemon off; master_process off; worker_processes 1; pid %(folder)s/pid; error_log %(folder)s/error.log crit;
events {}
http {
  access_log off; client_body_temp_path %(folder)s/b; proxy_temp_path %(folder)s/p; fastcgi_temp_path %(folder)s/f;
  uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
  upstream web { hash $request_uri consistent; %(servers)s }
  server { listen 127.0.0.1:%(port)d; location / { proxy_pass http://web; } }
}
"""


def test_a_key_belongs_to_the_same_endpoint_as_in_nginx(tmp_path: Path) -> None:
    async def main() -> None:
        backends = [Backend(str(number)) for number in range(4)]
        for backend in backends:
            await backend.start()
        port = free_port()
        nginx = Nginx(tmp_path, port, 1)
        servers = " ".join(f"server 127.0.0.1:{backend.port};" for backend in backends)
        (tmp_path / "nginx.conf").write_text(CONF % {"folder": tmp_path, "port": port, "servers": servers})
        ring = Ring([("127.0.0.1", backend.port) for backend in backends], separator=b"\0")
        keys = [f"/page/{number}?x={number % 7}" for number in range(200)]
        async with nginx:
            for key in keys:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET {key} HTTP/1.0\r\n\r\n".encode())
                said = await reader.read()
                writer.close()
                assert int(said.rpartition(b"\r\n\r\n")[2]) == ring.find(key), key
        for backend in backends:
            assert backend.requests
            backend.close()

    run(main(), 60.0)
