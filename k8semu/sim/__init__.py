"""Simulated time and chance: no networking, no wall clock.

    clock    integer nanoseconds; one heap ordered by (time, sequence)
    streams  every random choice draws from its own named stream
    loop     a real asyncio event loop whose time is the simulated one (seam 1)
"""
