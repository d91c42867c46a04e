"""From a failing world to the smallest one found that fails in the same way."""

from collections.abc import Callable

from tests.sim.plan import Plan
from tests.sim.runner import Verdict


def shrunk(
    run: Callable[[list[str]], Verdict], seed: int, kind: str, only: list[str] | None = None, budget: int = 300
) -> list[str]:
    """The items of the world that must be there for the failure.

    Takes away halves, then quarters, and so on down to single items, for as long as something can go. A client goes
    with its requests; a world that fails in another way does not count.

    Arguments:
        run: makes the world with these items alone.
        kind: the failure.
        only: items to begin with; None: all.
        budget: worlds at most.
    """
    names = Plan(seed).items() if only is None else list(only)
    size = max(1, len(names) // 2)
    while size and budget > 0:
        at, gone = 0, False
        while at < len(names) and budget > 0:
            fewer = names[:at] + names[at + size :]
            budget -= 1
            if run(fewer)["failure"] == kind:
                names, gone = fewer, True
            else:
                at += size
        if not gone or size > 1:
            size = size // 2 if size > 1 or not gone else size
            if size == 0:
                break
    return names


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
