"""Simulated time and chance: no networking, no wall clock.

    clock    integer nanoseconds; one heap ordered by (time, sequence)
    streams  every random choice draws from its own named stream
    program  what a task inherits: its namespace, its name, what its process has open
    loop     a real asyncio event loop whose time is the simulated one (seam 1)
    confine  a program of one's own stays on its emulated machine
"""
