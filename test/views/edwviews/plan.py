"""All of a seed: tables, views, batches. The same seed gives the same plan."""
import random
from dataclasses import dataclass, field

from .history import History, stream_setup
from .shapes import SHAPES, on_view
from .star import Star, quote

BATCHES = 12

UNDERLYING = (
    'CREATE VIEW sold AS SELECT s.id, s.day, p.category, s.customer, s.qty, s.amt, s.note FROM sale s JOIN product p ON p.id = s.product',
    'CREATE VIEW sold_by_category AS SELECT p.category, s.day, count(*) AS n FROM sale s JOIN product p ON p.id = s.product GROUP BY 1, 2')


@dataclass
class View:
    name: str
    shape: str
    query: str
    keys: list
    refresh: str
    options: str
    unique: list = None         # columns of a unique index
    must: bool = True
    below: str = None           # the registered view that it reads
    key: bool = True            # partition_by is right

    def create(self):
        out = ['CREATE MATERIALIZED VIEW %s AS %s' % (self.name, self.query)]
        if self.unique:
            out.append('CREATE UNIQUE INDEX %s_key ON %s (%s) NULLS NOT DISTINCT' % (self.name, self.name, ', '.join(self.unique)))
        return out

    def register(self, fallback=False):
        options = self.options
        if fallback:
            options = options[:-1] + (', ' if len(options) > 2 else '') + '"fallback": "full"}'
        return "SELECT edw_stream.register_view('%s', partition_by => '{%s}', refresh => '%s', options => %s)" % (
            self.name, ','.join(self.keys), self.refresh, quote(options))


@dataclass
class Plan:
    seed: int
    setup: list
    views: list
    batches: list
    zone: str
    streamed: bool
    profile: str
    only: list = field(default_factory=list)


def choose_views(rng, star, count, shapes):
    views = []
    names = [n for n in shapes or SHAPES if SHAPES[n].needs(star)]
    # what is only right as a whole is seldom
    weights = [1 if SHAPES[n].key else 0.4 for n in names]
    for i in range(count):
        shape = rng.choices(names, weights)[0]
        query, keys = SHAPES[shape](rng, star)
        views.append(finish(rng, View('v%d' % i, shape, query, keys, 'commit', '{}', must=SHAPES[shape].must,
                                      key=SHAPES[shape].key)))
    below = [v for v in views if v.key]
    for i in range(count, count + rng.choice((0, 1, 1, 2))):
        if not below:
            break
        under = rng.choice(below)
        query, keys = on_view(rng, under)
        views.append(finish(rng, View('v%d' % i, 'on_view', query, keys, 'commit', '{}', below=under.name)))
        below.append(views[-1])
    return views


def finish(rng, view):
    if rng.random() < 0.35:
        view.refresh = 'deferred'
    options = []
    if rng.random() < 0.5:
        options.append('"method": "partition"')
    if view.refresh == 'deferred':
        options.append('"max_staleness": "10ms"')
    view.options = '{%s}' % ', '.join(options)
    if view.shape in ('by_day', 'by_expression', 'coalesced_key', 'cte', 'exists_in') and rng.random() < 0.6 and 'category' not in view.query:
        view.unique = view.keys
    return view


def make_plan(seed, batches=BATCHES, shapes=None, refresh=None, method=None):
    rng = random.Random(seed)
    star = Star(rng)
    setup = star.setup()
    if star.streamed:
        setup += stream_setup(star)
    setup += UNDERLYING
    views = choose_views(rng, star, rng.randint(3, 6), shapes)
    for view in views:
        if refresh:
            view.refresh = refresh
            view.options = view.options.replace(', "max_staleness": "10ms"', '').replace('"max_staleness": "10ms"', '')
        if method == 'partition' and 'method' not in view.options:
            view.options = '{"method": "partition"%s' % (', ' + view.options[1:] if view.options != '{}' else '}')
        if method == 'delta':
            view.options = view.options.replace('"method": "partition", ', '').replace('"method": "partition"', '')
    history = History(rng, star, views)
    return Plan(seed, setup, views, history.batches(batches), star.zone, bool(star.streamed),
                'sale %s, streamed %s, cascade %s' % (star.kind, ','.join(star.streamed) or 'nothing', star.cascade))
