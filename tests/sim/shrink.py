"""From a failing world to the smallest one found that fails in the same way."""

from collections.abc import Callable

from tests.sim.plan import Plan
from tests.sim.runner import Verdict


def shrunk(
    run: Callable[[list[str]], Verdict], seed: int, kind: str, only: list[str] | None = None, budget: int = 400
) -> list[str]:
    """The items of the world that must be there for the failure.

    Takes away clients with all that they ask, and adversities; then what is odd about requests; then requests: halves
    first, then quarters, and so on down to single ones. A world that fails in another way does not count.

    Arguments:
        run: makes the world with these items alone.
        kind: the failure.
        only: items to begin with; None: all.
        budget: worlds at most.
    """
    plan = Plan(seed, only)
    names = set(plan.items())
    clients = [{name, *(f"{sort}{rid}" for rid in rids for sort in "rq")} for name, _, _, rids in plan.clients]
    whole = [{name} for name, _ in plan.adversities] + clients
    odd = [{name} for name in sorted(names) if name[0] == "q"]
    requests = [{name, "q" + name[1:]} for name in sorted(names) if name[0] == "r"]
    for groups in (whole, odd, requests):
        groups = [group & names for group in groups if group & names]
        size = max(1, len(groups) // 2)
        while size and budget > 0:
            at = 0
            while at < len(groups) and budget > 0:
                fewer = names.difference(*groups[at : at + size])
                budget -= 1
                if run(sorted(fewer))["failure"] == kind:
                    names = fewer
                    del groups[at : at + size]
                else:
                    at += size
            size //= 2
    return sorted(names)


def script(seed: int, names: list[str]) -> str:
    """What happens in a world, in some lines."""
    plan = Plan(seed, names)
    settings = ", ".join(f"{name}={value}" for name, value in plan.settings.items())
    lines = [
        f"seed {seed}: {plan.kind} on {plan.flavour}, {settings}",
        f"adversities: {', '.join(f'{name} {kind}' for name, kind in plan.adversities) or 'none'}",
    ]
    for name, _, manner, rids in plan.clients:
        lines.append(f"{name}, {manner}:")
        for rid in rids:
            asked = plan.asked(rid, rids)
            what = f"{asked.method} 1.{asked.minor}, content {asked.body_size} {asked.framing} read {asked.read}"
            lines.append(
                f"  r{rid} {what}; answer {asked.size} as {asked.style}; waits {asked.waits}; odd: {asked.quirk}"
            )
    return "\n".join(lines)
