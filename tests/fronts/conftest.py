"""serve(): greenhttp under a supervisor. front: nginx and HAProxy in front of it, one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reload import Program

SERVED = (Path(__file__).parent / "served.py").read_text()


@pytest.fixture
def serve(tmp_path):
    """serve(*options): started and ready; at the end it is stopped, or killed where a test has failed."""
    programs = []

    def begin(*options: str) -> Program:
        program = Program(tmp_path, *options, app=SERVED)
        programs.append(program)
        program.wait_for("HUP reloads")
        return program

    yield begin
    for program in programs:
        program.end()


@pytest.fixture
def front():
    """front(kind, upstream, **changes): that front runs."""
    running = []

    def begin(kind, upstream: str, **changes: str):
        it = kind(upstream, **changes)
        running.append(it)
        return it.start()

    yield begin
    for it in running:
        it.close()
