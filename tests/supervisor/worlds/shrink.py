"""A shorter script that fails by the same rule: whatever can be left out is."""

from tests.supervisor.worlds.script import DEFAULTS, Script
from tests.supervisor.worlds.world import run

MOST = 600  # worlds that may be run for it


def shrunk(script, code, rule):
    """Arguments:
    rule: that it breaks, the first of Outcome.wrong.
    """
    left = [MOST]

    def fails(ways, items):
        left[0] -= 1
        wrong = run(Script(ways, items), code).wrong if left[0] > 0 else None
        return wrong is not None and wrong[0] == rule

    ways, items = dict(script.ways), list(script.items)
    size = len(items)
    while size:
        start = 0
        while start < len(items):
            fewer = items[:start] + items[start + size :]
            if fails(ways, fewer):
                items = fewer
            else:
                start += size
        size //= 2
    for name, value in DEFAULTS.items():
        if ways[name] != value and fails(ways | {name: value}, items):
            ways[name] = value
    for number in range(1, ways["workers"]):
        if fails(ways | {"workers": number}, items):
            ways["workers"] = number
            break
    for place, item in enumerate(items):  # what a worker does beyond the ordinary
        if item[0] is None and item[1] == "birth":
            for name in item[3]:
                fewer = {other: value for other, value in items[place][3].items() if other != name}
                changed = items[:place] + [(*item[:3], fewer)] + items[place + 1 :]
                if fails(ways, changed):
                    items = changed
    return Script(ways, items)
