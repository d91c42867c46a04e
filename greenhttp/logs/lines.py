"""From a log record to a line: text, JSON, or the record itself for another process to format.

    2026-01-31 12:00:00.000 +0100 [2516] WARNING worker 3 died: ...
    {"time": "2026-01-31T11:00:00.000Z", "level": "WARNING", "process": 2516, "worker": null, ...}
"""

import json
import logging
import time
from typing import Any

from greenhttp.traces import trace

TEXT, JSON = "text", "json"

KEPT = (  # of a record, for another process
    "name", "levelno", "levelname", "created", "msecs", "relativeCreated", "process", "processName", "thread",
    "threadName", "pathname", "filename", "module", "lineno", "funcName",
)  # fmt: skip


class TextFormatter(logging.Formatter):
    """Time with its zone, process, level, message; then the traceback, if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(process)d] %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        there = time.localtime(record.created)
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', there)}.{int(record.msecs):03d} {time.strftime('%z', there)}"

    def formatException(self, ei: Any) -> str:
        """As the interpreter does; an exception that cannot be formatted must not take the line with it."""
        return super().formatException(ei) if ei[1] is None else trace(ei[1]).rstrip("\n")


class JSONFormatter(TextFormatter):
    """An object a line: time (ISO 8601, UTC), level, process, worker, request, request_id, peer, message, exception.

    `worker` is its number, `request` is method and path, `request_id` what names it in other logs too; null is what is
    unknown or does not apply.

    Arguments:
        worker: called for the number of the worker that this process is.
    """

    def __init__(self, worker: Any) -> None:
        super().__init__()
        self.worker = worker

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return json.dumps(
            {
                "time": f"{moment}.{int(record.msecs):03d}Z",
                "level": record.levelname,
                "process": record.process,
                "worker": self.worker(),
                "request": getattr(record, "request", None),
                "request_id": getattr(record, "request_id", None),
                "peer": getattr(record, "peer", None),
                "message": record.getMessage(),
                "exception": self.formatException(record.exc_info) if record.exc_info else None,
            },
            default=str,
        )


def packed(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    """The record as JSON, for `unpacked`: arguments and exceptions become text here, where they are at home."""
    kept = {name: getattr(record, name, None) for name in KEPT}
    kept["msg"] = record.getMessage()
    kept["exc_text"] = formatter.formatException(record.exc_info) if record.exc_info else None
    for name in ("request", "request_id", "peer", "worker"):
        kept[name] = getattr(record, name, None)
    return json.dumps(kept, default=str)


def unpacked(data: bytes) -> logging.LogRecord:
    """The record that `packed` has made text of."""
    return logging.makeLogRecord(json.loads(data))
