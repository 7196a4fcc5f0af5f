"""kubectl, as an asyncio program: on any machine that reaches the API server.

    main          reads the command line, and does what it says
    words         flags and arguments
    get           get, api-resources, version: tables as the server lays them out
    watch         get --watch
    about         api-versions, cluster-info, config, top
    describe/     describe: an object, what belongs to it, and its events
    logs          what the containers of Pods have written
    proxy         kubectl proxy: a local HTTP server in front of the API server
    port_forward  kubectl port-forward: a local port that leads to a port inside a Pod
    exec          kubectl exec: a command in a container
    pods          which Pod these are about

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd
Differs: no kubeconfig; the API server's address is that of the scenario, or that of --server.
Not modelled: commands that write objects; the scenario's steps do that.
"""
