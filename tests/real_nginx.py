"""Debian's nginx as a reverse proxy, with those directives of ingress-nginx' template that decide what a backend sees.

Kubernetes: ingress-nginx rootfs/etc/nginx/template/nginx.tmpl
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
WHY_NOT = "nginx is not installed (Debian: nginx)"
_CONF = """\
daemon off; master_process off; worker_processes 1;
pid %(folder)s/pid; error_log %(folder)s/error.log crit;
events {}
http {
  access_log off; server_tokens off; default_type text/html;
  client_body_temp_path %(folder)s/body; proxy_temp_path %(folder)s/proxy; fastcgi_temp_path %(folder)s/f;
  uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
  large_client_header_buffers 4 8k; client_header_buffer_size 1k; client_max_body_size 1m;
  limit_req_zone $binary_remote_addr zone=one:1m rate=1r/s;
  map $http_x_request_id $req_id { default $http_x_request_id; "" $request_id; }
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream web { server 127.0.0.1:%(web)d; keepalive 320; }
  upstream dead { server 127.0.0.1:1; }
  proxy_http_version 1.1; proxy_buffering off; proxy_redirect off; proxy_buffer_size 4k;
  proxy_set_header Host $http_host;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header X-Request-ID $req_id;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Scheme $scheme;
  proxy_set_header X-Scheme $scheme;
  proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
  proxy_set_header X-Original-Forwarded-Host $http_x_forwarded_host;
  proxy_set_header Proxy "";
  server { listen 127.0.0.1:%(port)d default_server; server_name _; location / { return 404; } }
  server {
    listen 127.0.0.1:%(port)d; server_name a.example;
    location / { proxy_pass http://web; }
    location /dead { proxy_pass http://dead; }
    location /empty { return 503; }
    location /moved { return 308 https://$host$request_uri; }
    location /slow { proxy_read_timeout 1s; proxy_pass http://web; }
    location /limited { limit_req zone=one burst=2 nodelay; proxy_pass http://web; }
    location /secret { auth_basic "who are you"; auth_basic_user_file %(folder)s/users; proxy_pass http://web; }
    location /nobody { allow 192.0.2.0/24; deny all; proxy_pass http://web; }
  }
}
"""


class Nginx:
    """nginx before the backend on port `web`, with a password file."""

    def __init__(self, folder: Path, port: int, web: int, users: str = "") -> None:
        self.folder, self.port = folder, port
        (folder / "users").write_text(users)
        (folder / "nginx.conf").write_text(_CONF % {"folder": folder, "port": port, "web": web})

    async def __aenter__(self) -> Nginx:
        assert NGINX is not None
        self.process = await asyncio.create_subprocess_exec(
            NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), stderr=asyncio.subprocess.PIPE
        )
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                return self
            except OSError:
                if self.process.returncode is not None:
                    assert self.process.stderr is not None
                    raise AssertionError((await self.process.stderr.read()).decode()) from None
                await asyncio.sleep(0.01)

    async def __aexit__(self, *_: object) -> None:
        self.process.terminate()
        await self.process.wait()
