"""What the star must hold: the rules of docs/star-schema.md in their plainest form.

Knows the events that have arrived, and nothing of batches but that a drain is one, if the plan says so.
"""

from .shop import Event

LOOKUPS = ('customer', 'product')
UNKNOWN = 'the unknown member'


class Reference:
    """A fact's reference to a member. drain: when it was looked up."""

    def __init__(self, key, as_of, drain):
        self.key, self.as_of, self.drain = key, as_of, drain


class Customers:
    """A dimension of type 2: its versions from all events that are known."""

    def __init__(self, plan):
        self.plan = plan
        self.events = {}            # key -> {position: event}
        self.changed = {}           # key -> the last drain that brought something of it
        self.vanished = set()       # keys that had versions once, and have none
        self.cache = {}

    def take(self, event, drain):
        mine = self.events.setdefault(event.key, {})
        if event.position not in mine:
            mine[event.position] = event
            self.changed[event.key] = drain
            self.cache.pop(event.key, None)
            return True
        return False

    def settle(self):
        """After a batch: whose versions are gone?"""
        for key, events in self.events.items():
            if not self.versions(key) and any(e.op != 'd' for e in events.values()):
                self.vanished.add(key)

    def exists(self, key):
        return bool(self.versions(key))

    def versions(self, key):
        """[(from, to or None, city, phone, position of the event that began it)]"""
        if key not in self.cache:
            self.cache[key] = self.follow(self.events.get(key, {}))
        return self.cache[key]

    def follow(self, events):
        states, state, latest, phone = {}, None, -1, None
        for position in sorted(events):
            event = events[position]
            latest = max(latest, event.at)
            if self.ends(event):
                state = None
            else:
                state = event.fields.get('city', state[0] if state else None), position
                phone = event.fields.get('phone', phone)
            states[latest] = state
        rows = []
        for when in sorted(states):
            state, last = states[when], rows[-1] if rows else None
            if last and last[1] is None:
                if state and state[0] == last[2]:
                    continue
                last[1] = when
            if state:
                rows.append([when, None, state[0], state[1]])
        return [(since, until, city, phone, opener) for since, until, city, opener in rows]

    def ends(self, event):
        return event.op == 'd'

    def valid(self, key, as_of):
        """The version that a fact of that time refers to."""
        versions = self.versions(key)
        for version in versions:
            if self.holds(version, as_of):
                return version
        before = [v for v in versions if v[0] <= as_of]
        return self.otherwise(before, versions)

    def holds(self, version, as_of):
        return version[0] <= as_of and (version[1] is None or as_of < version[1])

    def otherwise(self, before, versions):
        return before[-1] if before else versions[0]


class Plain:
    """A dimension of type 1: the newest event of each key wins; deletes leave the row."""

    vanished = frozenset()

    def __init__(self, plan):
        self.rows = {}              # key -> (position, fields)
        self.changed = {}

    def take(self, event, drain):
        position, fields = self.rows.get(event.key, (-1, None))
        if event.op == 'd' or event.position == position:
            return False
        if event.position > position:
            self.rows[event.key] = event.position, dict(fields or {}, **event.fields)
        return True

    def settle(self):
        pass

    def exists(self, key):
        return key in self.rows


class Fact:
    def __init__(self):
        self.position = -1          # of the event that wrote or deleted it last
        self.row = None             # its fields …
        self.refers = {}            # … and its lookups: None, UNKNOWN, Reference
        self.held = {}              # position -> event, whose member is missing
        self.came = {}              # position -> drain
        self.maybe = {}             # those that newer ones have made void, sooner or later


def merged(events):
    """Changes of one row as one; its time is that of the one which gives the customer."""
    fields, at = {}, events[-1].at
    for event in sorted(events, key=lambda e: e.position):
        fields.update(event.fields)
        at = event.at if 'customer_id' in event.fields else at
    return Event('orders', 'u', events[-1].key, events[-1].position, at, fields, None, any(e.full for e in events))


class Oracle:
    def __init__(self, plan):
        self.plan = plan
        self.drain = 0
        self.dimensions = {'customer': (Customers if plan.scd2 else Plain)(plan), 'product': Plain(plan)}
        self.facts = {}             # order -> Fact
        self.appended = []          # of append: [event, refers or None if it is missing]
        self.referred = {name: {} for name in LOOKUPS}      # what facts were about: key -> {as_of}

    # ---- a batch

    def take(self, events):
        self.drain += 1
        for table in ('customers', 'products'):
            for event in events:
                if event.table == table:
                    self.dimensions[table[:-1]].take(event, self.drain)
        for dimension in self.dimensions.values():
            dimension.settle()
        for event in self.facts_of(events):
            if self.plan.append:
                self.appended.append([event, self.look_up(event)])
            else:
                self.take_fact(self.facts.setdefault(event.key, Fact()), event)
        if 'wait' in self.plan.policy.values():
            self.release()

    def facts_of(self, events):
        return [e for e in events if e.table == 'orders']

    def take_fact(self, fact, event):
        if event.position <= fact.position:
            # stale; that is found out after it is looked up, or waits behind others
            if event.op != 'd' and (self.look_up(event) is None or fact.held and not event.full):
                fact.maybe[event.position] = event
            return
        if event.op != 'd' and not event.full and fact.held:
            self.take_behind(fact, event)
            return
        if event.op == 'd':
            self.write(fact, event, {})
            return
        refers = self.look_up(event)
        if refers is None:
            if event.full:
                self.make_void(fact, event.position - 1)
            fact.held[event.position] = event
            fact.came[event.position] = self.drain
        else:
            self.write(fact, event, refers)

    def take_behind(self, fact, event):
        """What gives only some columns waits behind what is held, but for what came in the same batch: they are one change."""
        if event.position < max(fact.held):
            fact.maybe[event.position] = event          # again; it stands behind what is newer
            return
        together = merged(list(fact.held.values()) + [event])
        refers = self.look_up(together) if min(fact.came[p] for p in fact.held) == self.drain else None
        if refers is None:
            fact.held[event.position] = event
            fact.came[event.position] = self.drain
        else:
            self.write(fact, together, refers)

    def write(self, fact, event, refers):
        fact.position = event.position
        if event.op == 'd':
            fact.row, fact.refers = None, {}
        else:
            fact.row = dict(fact.row or {}, **event.fields)
            fact.refers = dict(fact.refers, **refers)
        self.make_void(fact, event.position)

    def make_void(self, fact, position):
        for old in [p for p in fact.held if p <= position]:
            fact.maybe[old] = fact.held.pop(old)

    # ---- a lookup

    def look_up(self, event):
        """{lookup: what it refers to}, those that the event gives; None: a member is missing."""
        result, missing = {}, False
        for name in LOOKUPS:
            if name + '_id' not in event.fields:
                continue
            key, as_of = self.member(name, event)
            if key is None:
                result[name] = self.nobody(name)
                continue
            self.referred[name].setdefault(key, set()).add(as_of)
            if self.dimensions[name].exists(key) or self.plan.policy[name] == 'infer':
                result[name] = Reference(key, as_of, self.drain)
            elif self.plan.policy[name] in ('wait', 'quarantine'):
                missing = True
            else:
                result[name] = self.missing(name)
        return None if missing else result

    def member(self, name, event):
        """(natural key or None, as_of)"""
        fields = event.fields
        key = fields[name + '_id']
        if name == 'product' and self.plan.composite and key is not None:
            key = None if fields['region'] is None else (key, fields['region'].upper())
        if name == 'product' or not self.plan.scd2:
            return key, None
        as_of = fields['ordered_at'] if self.plan.as_of else event.at
        return (None, None) if as_of is None else (key, as_of)

    def nobody(self, name):
        """No member is meant."""
        return UNKNOWN if self.plan.policy[name] == 'unknown' else None

    def missing(self, name):
        return UNKNOWN if self.plan.policy[name] == 'unknown' else None

    # ---- members that came

    def release(self):
        """Members came: apply what was held (wait), or is retried (quarantine)."""
        for row in self.appended:
            if row[1] is None:
                row[1] = self.look_up(row[0])
        for fact in self.facts.values():
            for position in sorted(fact.held):
                event = fact.held.get(position)
                if event is None or position <= fact.position:
                    fact.held.pop(position, None)
                    continue
                refers = self.look_up(event)
                if refers is not None:
                    del fact.held[position]
                    self.write(fact, event, refers)
                elif self.plan.partial_facts:
                    break               # what gives only some columns waits behind it

    # ---- what may be, too

    def adopt(self, fact, position):
        """
        A row written by a held event that a newer one made void, in the same batch or before that came; or by
        several that were released together, the last of which makes up for what the others lack.
        """
        events = {**fact.maybe, **fact.held}
        pending = []
        for p in sorted(events):
            if fact.position < p <= position and (events[p].full or fact.row or pending):
                pending = [events[p]] if events[p].full else pending + [events[p]]
                together = merged(pending)
                refers = self.look_up(together)
                if refers is not None:
                    self.write(fact, together, refers)
                    pending = []

    def is_exact(self, name, refers):
        """Is it certain to which version the fact refers? Without repoint: if nothing about the member came later."""
        dimension = self.dimensions[name]
        if name == 'product' or not self.plan.scd2 or not dimension.exists(refers.key):
            return False
        came = dimension.changed[refers.key]
        return self.plan.repoint or came < refers.drain or (came == refers.drain and self.plan.one_batch)

    def is_vague(self, name, event):
        """Is the event about a member whose versions are all gone? What becomes of it is not said."""
        return name + '_id' in event.fields and self.member(name, event)[0] in self.dimensions[name].vanished
