"""Ratios that the design promises, each measured side by side in one run: `python -m benchmarks`.

    forwarding       frames through the emulated datapath, against the same done naively with Scapy
    processes        `k8semu run` as a whole process, against a Scapy import and against the kernel
    building         50 nodes with 10 Pods each, against the same in kernel namespaces
    memory           bytes kept per captured frame
    flow, naive      what forwarding and memory run: a TCP flow across nodes, and Scapy's way of it
"""
