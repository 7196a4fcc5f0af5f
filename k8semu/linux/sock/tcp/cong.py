"""How much may be in flight: slow start, then CUBIC.

Integer arithmetic throughout, so that a run is the same on every machine.

Linux: net/ipv4/tcp_cubic.c, net/ipv4/tcp_cong.c
RFC: 9438, 5681
Differs: no HyStart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.sim.clock import NS_PER_MS

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock

INIT_CWND = 10
BETA = 717           # of 1024: what is left of the window after a loss
MAX_CWND = 1 << 20


def cube_root(n: int) -> int:
    """The integer cube root of `n`."""
    if n <= 0:
        return 0
    x = 1 << (n.bit_length() + 2) // 3
    while True:
        y = (2 * x + n // (x * x)) // 3
        if y >= x:
            return x
        x = y


class Cubic:
    """The state of one connection's window growth. Linux: struct bictcp."""

    __slots__ = ("cnt_left", "epoch_start", "k", "last_max", "origin", "reno_acked", "reno_cwnd")

    def __init__(self) -> None:
        self.last_max = 0
        self.reset_epoch()

    def reset_epoch(self) -> None:
        """Growth is measured from the next acknowledgement on."""
        self.epoch_start = -1
        self.k = self.origin = self.reno_cwnd = self.reno_acked = 0

    def ssthresh(self, cwnd: int) -> int:
        """The window after a loss. Linux: cubictcp_recalc_ssthresh()."""
        self.reset_epoch()
        if cwnd < self.last_max:  # fast convergence
            self.last_max = cwnd * (1024 + BETA) // 2048
        else:
            self.last_max = cwnd
        return max(cwnd * BETA // 1024, 2)

    def interval(self, cwnd: int, acked: int, now: int, rtt: int) -> int:
        """After how many acknowledged segments the window grows by one. Linux: bictcp_update()."""
        if self.epoch_start < 0:
            self.epoch_start = now
            self.reno_cwnd, self.reno_acked = cwnd, 0
            if self.last_max <= cwnd:
                self.k, self.origin = 0, cwnd
            else:
                self.k = cube_root((self.last_max - cwnd) * 2_500_000_000)  # ms: (W / 0.4) s^3
                self.origin = self.last_max
        self.reno_acked += acked
        t = (now + rtt - self.epoch_start) // NS_PER_MS - self.k
        target = self.origin + 4 * t * t * t // 10_000_000_000
        interval = cwnd // (target - cwnd) if target > cwnd else 100 * cwnd
        if self.last_max == 0:
            interval = min(interval, 20)
        return max(min(interval, self._reno_interval(cwnd)), 2)

    def _reno_interval(self, cwnd: int) -> int:
        """Grow no slower than Reno would with the same response to loss."""
        step = max((cwnd * 15 >> 3) * 1024 // 1024, 1)  # 3 (2-beta)/beta … segments per extra one
        while self.reno_acked > step:
            self.reno_acked -= step
            self.reno_cwnd += 1
        if self.reno_cwnd > cwnd:
            return max(cwnd // (self.reno_cwnd - cwnd), 1)
        return 1 << 30


def cong_avoid(sk: TcpSock, acked: int) -> None:
    """`acked` segments were delivered: open the window. Linux: cubictcp_cong_avoid(), tcp_slow_start()."""
    if not is_cwnd_limited(sk):
        return
    if sk.cwnd < sk.ssthresh:
        grown = min(sk.cwnd + acked, sk.ssthresh)
        acked -= grown - sk.cwnd
        sk.cwnd = min(grown, MAX_CWND)
        if acked <= 0:
            return
    interval = sk.ca.interval(sk.cwnd, acked, sk.clock.now, sk.srtt)
    sk.cwnd_cnt += acked
    if sk.cwnd_cnt >= interval:
        sk.cwnd = min(sk.cwnd + sk.cwnd_cnt // interval, MAX_CWND)
        sk.cwnd_cnt %= interval


def is_cwnd_limited(sk: TcpSock) -> bool:
    """Was it the window that held us back? Linux: tcp_is_cwnd_limited()."""
    if sk.cwnd < sk.ssthresh:
        return sk.cwnd < 2 * sk.max_packets_out
    return sk.cwnd_limited


def restart_after_idle(sk: TcpSock) -> None:
    """Nothing was sent for longer than a timeout: begin again. Linux: tcp_cwnd_restart()."""
    idle = sk.clock.now - sk.lsndtime - sk.rto
    if idle <= 0 or sk.rtx:
        return
    cwnd = sk.cwnd
    sk.ssthresh = max(sk.ssthresh, (cwnd >> 1) + (cwnd >> 2))
    while idle > 0 and cwnd > INIT_CWND:
        cwnd >>= 1
        idle -= sk.rto
    sk.cwnd = max(cwnd, min(INIT_CWND, sk.cwnd))
    sk.max_packets_out = 0
    sk.ca.reset_epoch()
