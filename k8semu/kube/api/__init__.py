"""The API server: what the cluster is asked to be, kept, checked, and told to who watches.

    resources    the kinds, their groups, their short names
    status       what is wrong with a request, as the `Status` that the API server answers
    field        what is wrong with a field of an object
    shapes       which JSON types an object's fields have
    cache        objects of one kind, found by name, label, owner, or node
    selectors    label and field selectors
    patch        merge patch, JSON patch, strategic merge patch
    strategies/  per kind: what is filled in, what is refused, what is allocated
    registry     create, get, list, update, patch, delete, watch: all of it, without a network
    table        columns, as `kubectl get` prints them
    arguments    what a request says: path, options, body
    requests     what is done with it, and the answer
    watch        the changes of a kind, as one client sees them
    apply        `kubectl apply`, without a network
    bootstrap    the Service `kubernetes`
    server       the registry over HTTP/1.1
    client       a client of such a server, and a reflector: a cache that follows a kind

An object is plain JSON (`dict`) and never changed once it is stored: a new version shares with the
old one all that is the same. Who gets an object only reads it; who writes gives a new one.

Kubernetes: staging/src/k8s.io/apiserver, pkg/registry, pkg/apis
"""
