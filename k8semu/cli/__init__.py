"""The commands. Each file is one of them; `main` only names them, so that `--help` is quick.

    main     the click group, exit statuses, and what happens on Ctrl-C
    console  text for terminals (rich) and for pipes (plain)
    run explain exec verify export diff list
"""
