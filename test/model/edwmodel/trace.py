"""The history of a key that came out wrong, for people."""


def trace(check, wrong):
    if wrong.key is None:
        return
    key = wrong.key
    print('\nthe source, key %s of %s:' % (key, wrong.table))
    for e in check.source.log:
        if e.table and e.table.name == wrong.table and (e.key == key or e.op == 't'):
            print('  %4d %s' % (e.number, e.describe()))
    print('\nthe messages, in the order they were pushed:')
    waiting = False
    for m in check.delivered:
        if m == 'drain':
            waiting = True
            continue
        e = m.event
        if not e.table or e.table.name != wrong.table or (e.key != key and e.op != 't'):
            continue
        if waiting:
            print('  -- drain')
            waiting = False
        print('  p%d@%-4d %s%s → %s' % (
            m.partition, m.offset, 'tombstone of ' if m.value is None else '', describe(m),
            m.outcome))
    if waiting:
        print('  -- drain')


def describe(m):
    return '%d %s%s' % (m.event.number, m.event.describe(),
                        ' (sent again)' if m.resent else '')
