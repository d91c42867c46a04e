"""For each fault that has been in the supervisor: the rule that it breaks, and a small world where it does."""

CASES = {
    "a leap of the clock is everybody's time": ("killed", """
        {'workers': 1}
        (0.14, 'leap', 5000.0)
    """),
    "what is decided is lost in an upgrade": ("the log", """
        {'workers': 1}
        (1.3286, 'signal', 'USR2')
        (1.563, 'signal', 'TTIN')
    """),
    "a signal is lost in an upgrade": ("signals", """
        {'workers': 1, 'reload': True}
        (('poll', 1), 'signal', 'USR2')
        (('kill', 1), 'signal', 'HUP')
    """),
    "half a line is lost in an upgrade": ("the log", """
        {'workers': 1, 'halves': 0.2}
        (2.0, 'signal', 'USR2')
        (2.45, 'worker', 0, 'leave')
    """),
    "who was told is forgotten in an upgrade": ("the log", """
        {'workers': 1}
        (1.0, 'signal', 'USR2')
        (1.4, 'signal', 'TTIN')
    """),
    "a wish is forgotten in an upgrade": ("recovery", """
        {'workers': 1}
        (1.0, 'signal', 'USR2')
        (1.4, 'worker', 0, 'leave')
        (None, 'birth', 3, {'way': 'dies', 'boot': 0.1})
    """),
    "who starts is told to leave before it is heard": ("too early", """
        {'workers': 3}
        (None, 'birth', 2, {'boot': 0.5})
        (None, 'birth', 3, {'boot': 0.5})
        (0.4, 'signal', 'HUP')
        (('reread', 1), 'stall', 2.0)
    """),
    "who starts is told to leave before it is heard, when another has died": ("too early", """
        {'workers': 2}
        (2.0, 'signal', 'HUP')
        (None, 'reread', 1, {'workers': 4})
        (2.29, 'worker', 2, 'die', 11)
        (('waitpid', 5), 'stall', 0.1)
    """),
    "a reload changes the time of who was started before": ("killed", """
        {'workers': 1, 'graceful': 8.0}
        (None, 'birth', 1, {'drain': 7.0})
        (None, 'reread', 1, {'graceful_timeout': 1.0})
        (1.0, 'signal', 'HUP')
    """),
    "a reload changes the patience with who was started before": ("killed", """
        {'workers': 1, 'timeout': 8.0}
        (None, 'reread', 1, {'timeout': 3.5})
        (1.0, 'signal', 'HUP')
        (1.1, 'worker', 0, 'hold', 7.0, 'c')
    """),
    "a failed generation takes with it who is needed": ("too early", """
        {'workers': 3}
        (1.5, 'worker', 0, 'die', 11)
        (1.5, 'worker', 0, 'die', 11)
        (1.55, 'signal', 'HUP')
        (None, 'birth', 6, {'life': 0.5})
    """),
    "a check that hangs is forgotten where no worker lives": ("upgrade", """
        {'workers': 1}
        (1.0, 'signal', 'WINCH')
        (2.0, 'signal', 'USR2')
        (None, 'check', 1, 0, inf)
    """),
    "a successor that has failed is due never": ("recovery", """
        {'workers': 1, 'timeout': 0.0, 'blind': True}
        (2.0, 'worker', 0, 'leave')
        (None, 'fork', 2, 'fork')
    """),
    "deep brackets end the supervisor": ("crash", """
        {'workers': 1}
        (None, 'birth', 1, {'garbage': True})
    """),
    "a worker that never ends its line has all the attention": ("signals", """
        {'workers': 1}
        (1.0, 'worker', 0, 'flood', 9.0)
        (1.5, 'signal', 'TTIN')
    """),
    "the watcher is signalled after it was reaped": ("reaped", """
        {'workers': 1, 'reload': True}
        (('waitpid', 1), 'watcher', 'dies')
    """),
    "a first worker that ends with 0 ends all without a word": ("the log", """
        {'slow_death': 0.5}
        (None, 'birth', 1, {'way': 'dies', 'status': 0})
    """),
    "who dies while another program starts is said to have never been ready": ("the log", """
        {'workers': 1}
        (1.0, 'signal', 'USR2')
        (None, 'birth', 2, {'boot': 5.0})
        (3.0, 'worker', 0, 'die', 11)
    """),
    "who is told to leave before an upgrade that fails has failed": ("the end", """
        {'workers': 1}
        (None, 'birth', 1, {'boot': 5.0})
        (0.1, 'signal', 'USR2')
        (None, 'exec', 1, 'fails')
    """),
    "who has been told to leave is introduced": ("the log", """
        {}
        (2.0, 'signal', 'HUP')
        (2.285, 'signal', 'HUP')
    """),
    "who is not needed any more is started": ("too many", """
        {'workers': 4}
        (2.0, 'signal', 'HUP')
        (2.1, 'worker', 0, 'die', 11)
        (2.1, 'worker', 0, 'die', 11)
        (2.1, 'worker', 0, 'die', 11)
        (None, 'fork', 6, 'fork')
    """),
    "who waits for an upgrade that fails has no workers any more": ("recovery", """
        {'workers': 1}
        (2.0, 'signal', 'USR2')
        (2.4, 'stall', 0.3)
        (2.5, 'worker', 0, 'die', 11)
        (None, 'exec', 1, 'fails')
    """),
    "a second signal to end at once gives more time": ("the end", """
        {'workers': 1, 'graceful': 0.0, 'timeout': 0.0}
        (1.0, 'worker', 0, 'hold', inf, 'stopped')
        (2.0, 'signal', 'TERM')
        (6.5, 'signal', 'QUIT')
    """),
    "who starts leaves for a reload although nobody serves": ("too early", """
        {}
        (0.1, 'signal', 'HUP')
    """),
    "one of the old generation that cannot start is a failed attempt": ("killed", """
        {'workers': 1}
        (None, 'birth', 1, {'way': 'failed'})
        (0.1, 'signal', 'HUP')
    """),
    "what waits at the end is forgotten": ("the end", """
        {'workers': 1}
        (2.0, 'signal', 'WINCH')
        (3.0, 'connect')
        (4.0, 'signal', 'TERM')
    """),
    "signals have their defaults while it goes down": ("signals", """
        {'workers': 1}
    """),
    "a limit that is lowered ends the supervisor": ("crash", """
        {'workers': 1}
        (2.0, 'limit', 3.0)
    """),
    "a reload without descriptors ends the supervisor": ("crash", """
        {'workers': 1}
        (2.0, 'limit', 3.0)
        (2.5, 'signal', 'HUP')
    """),
    "a window whose terminal cannot be opened puts all to rest": ("too early", """
        {'workers': 1, 'terminal': True}
        (2.0, 'limit', 3.0)
        (2.5, 'signal', 'WINCH')
    """),
    "those that ask in vain are replaced at once": ("pauses", """
        {'workers': 1}
        (None, 'birth', 1, {'wish': 1.5, 'vain': True})
    """),
    "a sleep before the look at the beats is a worker's silence": ("killed", """
        {'workers': 1}
        (None, 'birth', 2, {'boot': 30.0})
        (2.0, 'signal', 'USR2')
        (None, 'check', 1, 0, inf)
        (('kill', 1), 'leap', 5000.0)
    """),
    "each worker that fails is an attempt": ("the end", """
        {'workers': 4}
        (4.0, 'worker', 0, 'die', 11)
        (4.0, 'worker', 0, 'die', 11)
        (4.0, 'worker', 0, 'die', 11)
        (4.0, 'worker', 0, 'die', 11)
        (None, 'birth', 5, {'way': 'failed'})
        (None, 'birth', 6, {'way': 'failed'})
        (None, 'birth', 7, {'way': 'failed'})
        (None, 'birth', 8, {'way': 'failed'})
        (None, 'birth', 9, {'way': 'failed'})
    """),
    "a crash loop has no pauses": ("pauses", """
        {'workers': 1}
        (None, 'birth', 1, {'life': 3.0})
        (None, 'birth', 2, {'life': 3.0})
    """),
    "the first fork that fails ends all": ("recovery", """
        {}
        (None, 'fork', 1, 'fork')
    """),
}  # fmt: skip
