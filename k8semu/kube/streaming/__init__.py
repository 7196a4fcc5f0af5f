"""Many streams over one connection: what carries exec and port-forward.

    spdy         SPDY/3.1 frames, as bytes and as values
    session      streams over SPDY: made by either side, read, written, closed each by itself
    websocket    RFC 6455 frames and handshake
    pipes        what a session's bytes travel in: TCP, or binary messages of a WebSocket
    command      how a command's standard streams and its exit status are told

Kubernetes: staging/src/k8s.io/streaming/pkg/httpstream, github.com/moby/spdystream, github.com/gorilla/websocket
"""
