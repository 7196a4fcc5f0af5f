"""What a program is told of the machine that it runs on: its host name, its environment, its kernel.

Kubernetes: cluster/master.py has the same kernel in each Node's `nodeInfo`
"""

from __future__ import annotations

SYSTEM, RELEASE, VERSION, MACHINE = "Linux", "6.1.0", "#1 SMP PREEMPT_DYNAMIC", "x86_64"
"""The emulated kernel. Linux: uname(2)"""
