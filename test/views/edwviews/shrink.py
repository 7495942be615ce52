"""Fewer steps for the same failure: drop batches, then statements, then views, while it still fails."""
import copy


def chunks(items, attempt):
    """The items less whatever attempt(items) still fails without."""
    size = max(len(items) // 2, 1)
    while items:
        at = 0
        while at < len(items):
            fewer = items[:at] + items[at + size:]
            if attempt(fewer):
                items = fewer
            else:
                at += size
        if size == 1:
            break
        size = max(size // 2, 1)
    return items


def shrink(plan, view, fails):
    """fails(plan) tells whether it still goes wrong. view: the one that is wrong, or None."""
    plan = copy.deepcopy(plan)

    def with_batches(batches):
        candidate = copy.copy(plan)
        candidate.batches = batches
        return fails(candidate)

    def with_views(views):
        candidate = copy.copy(plan)
        candidate.views = views
        return fails(candidate)

    def needed(v):
        below = next((b for b in plan.views if b.name == v.below), None)
        return [v] + (needed(below) if below else [])

    if view and with_views([v for v in plan.views if v in needed(view)]):
        plan.views = [v for v in plan.views if v in needed(view)]
    else:
        plan.views = chunks(plan.views, with_views)
    plan.batches = chunks(plan.batches, with_batches)
    for i in range(len(plan.batches)):
        plan.batches[i] = chunks(plan.batches[i], lambda items: with_batches(
            plan.batches[:i] + [items] + plan.batches[i + 1:]))
    plan.batches = [b for b in plan.batches if b]
    plan.setup = chunks(plan.setup, lambda setup: fails_with_setup(plan, setup, fails))
    return plan


def fails_with_setup(plan, setup, fails):
    candidate = copy.copy(plan)
    candidate.setup = setup
    return fails(candidate)


def script(plan, check, wrong):
    """What was run, for psql; what several sessions do is told by comments."""
    out = ["CREATE SCHEMA star; SET search_path = star; SET TimeZone = '%s';" % plan.zone]
    out += [sql + ';' for sql in plan.setup]
    for view in plan.views:
        out += [sql + ';' for sql in view.create()]
        out.append(view.register(getattr(view, 'fallback', False)) + ';')
    for name, sql, error in check.done:
        out.append('%s%s;%s' % ('' if name == 'a' else '/* session %s */ ' % name, sql, '   -- %s' % str(error).splitlines()[0] if error else ''))
    return '\n'.join(out + ['-- ' + line for line in str(wrong).splitlines()])
