"""Fewer causes for the same failure.

The source and its delivery draw from random numbers of their own, so that a shorter history
is a prefix of the longer one, and that most choices can be switched off one by one.
"""
SIMPLER = (('tables', '1'), ('rewinds', '0'), ('lag', '0'), ('grow', '0'), ('compact', '0'),
           ('partitions', '1'), ('resnapshots', '0'), ('incremental', '0'), ('truncate', '0'),
           ('toast', '0'), ('add_column', '0'), ('drop_column', '0'), ('shifts', '0'),
           ('duplicate_inserts', '0'), ('composite', '0'), ('append', '0'),
           ('transaction_topic', '0'), ('format', 'debezium'), ('on_delete', 'delete'),
           ('pushes', '1'), ('batch_rows', '1000'), ('rewinds', '1'), ('keys', '2'))


def shrink(profile, overrides, wrong, attempt):
    settings = dict(overrides)

    def fails(candidate):
        from .profile import Profile
        p = Profile.of_seed(profile.seed, candidate.items())
        _, found = attempt(p)
        return p if found else None

    def fewer_transactions():
        nonlocal profile
        n = profile.transactions
        while n > 1:
            n = n * 2 // 3
            p = fails({**settings, 'transactions': str(n)})
            if not p:
                break
            settings['transactions'] = str(n)
            profile = p

    fewer_transactions()
    for name, value in SIMPLER:
        if str(int(v) if isinstance(v := getattr(profile, name), bool) else v) == value:
            continue
        p = fails({**settings, name: value})
        if p:
            settings[name] = value
            profile = p
    fewer_transactions()
    print('  narrowed: test/model/run --seed %d %s' % (
        profile.seed, ' '.join('--set %s=%s' % s for s in settings.items())))
    return profile
