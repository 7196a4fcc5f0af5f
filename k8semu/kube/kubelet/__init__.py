"""The kubelet's own server, and the container runtime's: the last part of the way into a Pod.

    server       port 10250: /exec, /portForward, /pods, /healthz
    streaming    the container runtime's streaming server on 127.0.0.1, to which the kubelet leads on
    sandbox      what a node knows of its Pods, and what the runtime can do in one (a seam: see there)
    execution    a command in a container

    API server ─▶ :10250 kubelet ─▶ 127.0.0.1: streaming server ─▶ the Pod's own 127.0.0.1, or a process in it

Kubernetes: pkg/kubelet/server/server.go; containerd internal/cri/server/{streaming,sandbox_portforward_linux}.go
Differs: kubelet and container runtime are one program here: what they say to each other on a Unix socket
         (CRI: Exec, PortForward) is a call.
"""
