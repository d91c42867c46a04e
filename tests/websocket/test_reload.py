"""Reloads and upgrades with open WebSockets. `make reload-soak` is a long run of the same, with TLS."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.reload import ANSWERED, LOST, SOCKETS, Conversing, Program, finish, rounds, table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")


def test_each_is_closed_with_its_code_and_no_echo_is_lost(tmp_path: Path) -> None:
    program = Program(tmp_path, "-w", "2", "--drain-linger", "200ms")
    clients = program.clients(SOCKETS * 2)
    try:
        rounds(program, 3, 1, clients)
        finish(clients, 50)
        code = program.stop()
    finally:
        program.end()
    assert not any(client.outcomes[LOST] for client in clients), [client.errors for client in clients]
    for client in clients:
        assert isinstance(client, Conversing)
        assert set(client.codes) == {1012}, table(clients)
        assert client.outcomes[ANSWERED] >= 50 and len(client.versions) > 1
    assert code == 0
    assert not [line for line in program.lines if " ERROR " in line or "Traceback" in line]
