"""Helpers for tests of applications. Public: kept stable like the rest.

    Client          requests and answers as values: `Client(app).get("/x").json()`
    exchange        one connection as bytes: what is sent, what comes back
    every_split     all the ways in which bytes may arrive, for parsers

The server is the real one, in memory: parser, green threads, limits, time-outs; only the socket is not there.

    client          Client, on the two others
    messages        its requests and answers as bytes
    memory          exchange, every_split, and a server that nobody listens for
"""

from greenhttp.testing.client import Client
from greenhttp.testing.memory import Outcome, Record, every_split, exchange
from greenhttp.testing.memory import service_of as service_of  # for our own tests: not public
from greenhttp.testing.messages import Answer, Fields

__all__ = ["Answer", "Client", "Fields", "Outcome", "Record", "every_split", "exchange"]
