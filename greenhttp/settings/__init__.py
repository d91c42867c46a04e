"""A setting's whole way: given -> settled -> checked as text -> `Settings`.

    kinds       a value as given -> as kept: durations, sizes, lists
    table       every setting once: name, kind, default, help
    checks      what its value must be beyond its kind
    peers       what a list of trusted peers says: text -> Network
    typed       the same for type checkers, generated from it
    values      Settings: a value for each
    address     what --bind says: text -> Address
    sources     which of the places a setting comes from wins
    file        those of a file, TOML or Python; gunicorn's too
    foreign     what other servers call theirs
    signatures  what a hook, a factory or an application can be called with
    shown       settings as TOML, for --print-config
    console     lines and colours on the terminal

Opens no socket, asks for no user and imports nothing of gevent: what needs those is `program.check`.
"""
