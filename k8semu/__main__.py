"""`python -m k8semu` is `k8semu`."""

from k8semu.cli.main import main

main()
