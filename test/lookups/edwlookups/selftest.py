"""The generator against oracles with one rule broken each: a history on which none of them fails proves nothing."""
import time

from .oracle import Customers, LOOKUPS, Oracle, Reference, UNKNOWN
from .plan import Plan
from .shop import Shop, deliver


class LookingBack(Customers):
    """as_of is not asked for: the current version"""
    def valid(self, key, as_of):
        return self.versions(key)[-1]


class OpenStart(Customers):
    """a version is not valid yet at its very beginning"""
    def holds(self, version, as_of):
        return version[0] < as_of and (version[1] is None or as_of <= version[1])


class FirstOfAll(Customers):
    """a fact of a closed member refers to its first version"""
    def otherwise(self, before, versions):
        return versions[0]


class LastOfAll(Customers):
    """a fact older than the member refers to its last version"""
    def otherwise(self, before, versions):
        return versions[-1]


class NeverClosed(Customers):
    """a delete does not end a version"""
    def ends(self, event):
        return False


class InOrderOnly(Customers):
    """a version that comes late is dropped"""
    def take(self, event, drain):
        known = self.events.get(event.key)
        return not (known and event.position < max(known)) and super().take(event, drain)


class MissingWhenOlder(Oracle):
    """a member is missing for facts that are older than it"""
    def look_up(self, event):
        result = super().look_up(event)
        for name, refers in (result or {}).items():
            dimension = self.dimensions[name]
            if isinstance(refers, Reference) and refers.as_of is not None and dimension.exists(refers.key) and \
                    refers.as_of < dimension.versions(refers.key)[0][0]:
                result[name] = self.missing(name)
        return result


class NullIsNull(Oracle):
    """where no member is meant, the unknown member is not either"""
    def nobody(self, name):
        return None


class UnknownIsNull(Oracle):
    """the unknown member is not used"""
    def missing(self, name):
        return None


class FactsFirst(Oracle):
    """facts do not see the dimensions of their own batch"""
    def take(self, events):
        super().take(self.facts_of(events))
        super().take([e for e in events if e.table != 'orders'])


class NeverReleased(Oracle):
    """what is held stays held"""
    def release(self):
        pass


class LateWins(Oracle):
    """an older event of a fact that comes late overwrites it"""
    def take_fact(self, fact, event):
        fact.position = min(fact.position, event.position - 1)
        super().take_fact(fact, event)


class PartialIsWhole(Oracle):
    """what an event leaves out becomes null"""
    def write(self, fact, event, refers):
        super().write(fact, event, dict(dict.fromkeys(LOOKUPS), **refers))


BROKEN = (LookingBack, OpenStart, FirstOfAll, LastOfAll, NeverClosed, InOrderOnly, MissingWhenOlder, NullIsNull,
          UnknownIsNull, FactsFirst, NeverReleased, LateWins, PartialIsWhole)


def make(plan, broken):
    if broken is None or issubclass(broken, Oracle):
        return (broken or Oracle)(plan)
    oracle = Oracle(plan)
    if plan.scd2:
        oracle.dimensions['customer'] = broken(plan)
    return oracle


def shown(oracle, right, name, refers):
    """A reference as far as the check tells it from others."""
    if refers is None or refers is UNKNOWN:
        return refers
    dimension = oracle.dimensions[name]
    if not dimension.exists(refers.key) or not right.is_exact(name, refers):
        return refers.key
    return refers.key, dimension.valid(refers.key, refers.as_of)[0]


def picture(oracle, right):
    facts = {key: (fact.row and fact.row['event'], {n: shown(oracle, right, n, r) for n, r in fact.refers.items()},
                   max(fact.held, default=None)) for key, fact in oracle.facts.items()}
    appended = [(event.position, refers and {n: shown(oracle, right, n, r) for n, r in refers.items()})
                for event, refers in oracle.appended]
    return facts, appended


def differs(seed, broken):
    """Does the broken oracle ever say something else?"""
    plan = Plan(seed)
    arrivals = deliver(plan, Shop(plan).run())
    right, wrong = make(plan, None), make(plan, broken)
    while arrivals:
        n = plan.rnd.randint(1, plan.drain)
        for oracle in (right, wrong):
            oracle.take(arrivals[:n])
            if 'quarantine' in plan.policy.values() and n % 3 == 0:
                oracle.release()
        arrivals = arrivals[n:]
        if picture(right, right) != picture(wrong, right):
            return True
    return False


def self_test(options):
    failed, started = 0, time.monotonic()
    for broken in BROKEN:
        found = []
        for seed in range(options.first, options.first + options.seeds):
            if differs(seed, broken):
                found.append(seed)
            if len(found) == 3:
                break
        print('  %-18s %-70s %s' % (broken.__name__, broken.__doc__, 'seeds %s' % found if found else 'NOT FOUND'))
        failed += not found
    print('%d of %d broken rules found in %.0f s' % (len(BROKEN) - failed, len(BROKEN), time.monotonic() - started))
    return failed
