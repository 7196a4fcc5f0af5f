"""The kernel twin: the same cluster in real Linux network namespaces, and the comparison with it.

    private     a process tree with namespaces of its own, which dies with us and leaves nothing
    netns       named network namespaces inside it
    features    what the kernel of this machine has, and why something is not verifiable here
    order       which commands of a journal can share one run of `ip -batch`
    builder     tells real namespaces what the journal says
    devices     a device's offloads, flags and promiscuity, by ioctl
    ring        frames from the kernel (AF_PACKET) into memory
    sniffer     the process that captures, and knows when the network is quiet
    process     one program of a Pod or node, on a real event loop
    command     a real command line, run as a program
    channel     how these processes talk
    supervisor  the first process inside: builds, and starts the others
    twin        all of it as one object
    result      what a step returned, without what Linux chooses freely
    verify      journal and emulated frames against the twin
    script      the journal as a shell script

    parent ── Twin ──▶ supervisor (pid 1 inside) ── builder: ip, bridge, sysctl, iptables-restore
                 │           └─▶ program, program, …
                 └───────▶ sniffer ◀── frames of every captured device

What is normalised, and why:
  `normal_frame`        what Linux chooses freely: ephemeral ports, ISNs, IP ids, TCP timestamps and
                        windows, VXLAN source ports, times, which pure ACKs are sent
  settings              a namespace inherits the machine's; the twin sets those in which it differs
                        from the emulator's defaults (rp_filter, tcp_rmem, …)
  neighbours            stay REACHABLE, and are not asked again, for longer than a comparison lasts:
                        for how long else is drawn, and when depends on how long a run takes
  the end               Linux takes its time between steps, so what a timer sends behind the emulator's last
                        step may come before Linux's: the emulator goes on for a while, and tells it
  multicast snooping    off on bridges, which otherwise send IGMP reports at random times
  offloads, IPv6        off; checksums that lo leaves to nobody are filled in
  results               times, ephemeral ports, device numbers in printed text
"""
