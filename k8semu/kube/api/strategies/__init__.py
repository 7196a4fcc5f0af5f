"""What the API server does with an object of a kind before it keeps it: fill in, check, allocate.

    decode ─▶ default ─▶ prepare (create, update or status) ─▶ allocate ─▶ validate ─▶ kept

Kubernetes: pkg/registry/*/*/strategy.go, pkg/apis/*/*/defaults.go, pkg/apis/*/validation
"""
