"""Scenario files: what they say, how they are read, how they are run.

    model    the types of a scenario file
    yaml     YAML with line numbers, and errors that use them
    load     a file (scenario and manifests) as checked values
    run      build the cluster, take the steps, check what was expected
    story    what happened, for a reader in a terminal
"""
