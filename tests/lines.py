"""Lines of the log as tests compare them: level and message, without time and process."""

import re

HEAD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4} \[\d+\] ", re.MULTILINE)


def plain(text):
    """The text without the time and the process before each entry of a log."""
    return HEAD.sub("", text)
