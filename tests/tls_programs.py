"""Programs of tests that speak TLS."""

from __future__ import annotations

import asyncio

from k8semu.apps import tls


async def serve(certificate: str, key: str, port: int = 443, size: int = 0) -> None:
    """Answer each line with itself and `size` bytes more, over TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.strip():
                body = b"you said " + line + bytes(size)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            else:
                break
        writer.close()

    server = await tls.start_server(answer, "0.0.0.0", port, tls.server_context(certificate, key))
    await server.serve_forever()


async def call(host: str, name: str, ca: str, port: int = 443) -> dict[str, str | int]:
    """Say hello over TLS, as a line of HTTP."""
    try:
        reader, writer = await tls.open_connection(host, port, tls.client_context(ca), name)
    except OSError as error:
        return {"error": getattr(error, "verify_message", str(error))}
    writer.write(b"GET /hello HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return {"answer": answer[:200].decode(), "bytes": len(answer), "error": ""}
