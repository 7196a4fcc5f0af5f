"""nf_tables: tables that anybody may make, with chains at hooks, rules, sets and maps.

    nft -f text ─▶ lexer ─▶ parse ─▶ Cmd, RuleSpec (values) ─▶ transaction ─▶ objects ─▶ walk, at the hooks
                                                                                 └─▶ show: `nft list ruleset`

    datatypes    what a key is made of: ipv4_addr, inet_service, …
    expr         what a rule asks of a packet: `ip daddr`, `meta mark`, `numgen random mod 3`; hash: `jhash`
    values       what it compares with: a value, a prefix, a range; sources: a set
    stmt         what it does: match, vmap, verdict, update @set; stmt_nat: dnat, masquerade, reject
    sets         sets, maps and verdict maps with their elements
    objects      tables, chains, and rules in their chains; walk
    lexer, words, parse, parse_rule     text to commands and rules; tidy: in the form that nft prints
    transaction  all of a text, or nothing of it; undo: the way back
    typed, validate    what the kernel would refuse
    show         back to text
    engine       a namespace's nf_tables, registered at the hooks

A chain is walked from its first rule as in the kernel; a lookup in a set or map costs the same
however many elements it has.

Linux: net/netfilter/nf_tables_api.c, nf_tables_core.c; nft(8)
"""
