"""What would bite in this application: `greenhttp doctor module:app [--request 'GET /path'] [--accept NAME] [--json]`.

    table       which packages hold the hub, or need something, and what to do about each: data
    look        what is to be seen once the application is loaded: what came too early, packages, threads, signals
    probe       what is to be seen while it answers: requests from a real thread, a watchdog over the hub
    report      findings as text and as JSON; `run` is all of it

A finding `blocks` when it stops other requests: then the exit code is 1. The others are worth knowing.
"""
