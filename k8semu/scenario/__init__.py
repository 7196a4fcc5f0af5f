"""Scenario files: what they say, how they are read, how they are run.

    model    the types of a scenario file
    yaml     YAML with line numbers, and errors that use them
    convert  plain values as typed ones, and what was meant by a wrong one
    load     a file (scenario and manifests) as checked values
    check    does it make sense? names, addresses, subnets; check_steps the steps
    run      build the cluster, take the steps, check what was expected
    endpoints  why nobody is behind a Service
    story    what happened, for a reader in a terminal
"""
