"""The commands. Each file `…_command` is one of them; `main` only names them, so that `--help` is quick.

    usual    `run NAME|FILE… [-o DIR]`, read without click
    main     the click group, for all other command lines
    outcome  exit statuses, and what is said of an error or a Ctrl-C
    interrupt  where a Ctrl-C may come
    runs     what `run` does
    console  text for terminals (rich) and for pipes (plain)
    run explain exec verify export diff list
"""
