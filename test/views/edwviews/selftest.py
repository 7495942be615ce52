"""The test itself put to the test: what is broken on purpose must be noticed, and what is right must not."""
from .check import Check, Wrong

TRIGGER = ("UPDATE pg_trigger SET tgenabled = 'D' WHERE tgname LIKE 'edw\\_stream\\_view\\_%%' AND tgtype & %d <> 0",
           # the relation cache learns of it
           'UPDATE pg_class SET relname = relname WHERE relnamespace = \'star\'::regnamespace')

BROKEN = {
    'inserts are not captured': tuple(s % 4 if '%' in s else s for s in TRIGGER),
    'deletes are not captured': tuple(s % 8 if '%' in s else s for s in TRIGGER),
    'updates are not captured': tuple(s % 16 if '%' in s else s for s in TRIGGER),
    'truncates are not captured': tuple(s % 32 if '%' in s else s for s in TRIGGER),
}


class ByHand(Check):
    """No registration: REFRESH before each comparison. Whatever differs then is this test's own fault."""

    def register(self, view):
        view.fallback = False
        self.registered.append(view)

    def compare(self, when, deferred=True):
        if when.startswith('while'):
            return
        for view in self.registered:
            self.control.query('REFRESH MATERIALIZED VIEW %s' % view.name)
        super().compare(when, deferred)

    def wait_for_refresher(self, when):
        pass


class NeverRefreshed(ByHand):
    def compare(self, when, deferred=True):
        Check.compare(self, when, deferred)


def without_api(plan):
    """The plan, less the calls that need a registration."""
    plan.batches = [[(n, s) for n, s in batch if 'gister_view' not in s and 'refresh_view' not in s] for batch in plan.batches]
    return plan
