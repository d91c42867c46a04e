"""The blocks of a page of the guide, in order.

A block is what stands between two fences. Its first word is the language; `title="shop.py"` makes it a file,
`from="%1"` what a background job says. What a reader need not see stands in a comment of several lines, in the same
form:

    <!-- console
    $ curl -s http://127.0.0.1:8000/
    hello
    -->

A comment of one line directly before a block says who else is responsible for it:

    <!-- not run NAME: the reason -->
    <!-- tested by tests/fronts/test_nginx.py -->

and anywhere in a page, what the page needs beside the commands that it shows: `<!-- needs uwsgi -->`. What stands
between the markers of docs/generated.py is no block.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"(?P<indent> *)(?P<marks>`{3,})(?P<language>[\w{}-]*)(?P<rest>.*)")
HIDDEN = re.compile(r"<!-- (?P<language>console|python|toml|text)(?P<rest>.*)")
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
NOT_RUN = re.compile(r"<!-- not run ([\w-]+): (.+) -->")
ELSEWHERE = re.compile(r"<!-- tested by (\S+) -->")
GENERATED = re.compile(r"<!-- generated: \w+;.*-->")
GENERATED_END = "<!-- generated: end -->"
# The first word of a command, also in a pipeline, a list, a loop or `$(...)`, with assignments before it.
COMMAND = re.compile(
    r"(?:^|[|;&(])[ \t]*(?:(?:do|until|while|if|then|else|\w+=\S*)[ \t]+)*([a-z][\w.+-]*)", re.MULTILINE
)
SHELL = {
    *("cd", "do", "done", "echo", "else", "exit", "export", "false", "fi", "for", "if", "kill", "printf", "set"),
    *("test", "then", "trap", "true", "until", "wait", "while"),
}
OURS = {"python", "greenhttp"}  # tests/docs/session.py puts them on the path
NEEDS = re.compile(r"^<!-- needs ([\w-]+) -->$", re.MULTILINE)


class Malformed(Exception):
    """A page that cannot be read as blocks; says where."""


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes:
        place: page and line of its fence, for people.
        language: the first word after the fence; "" for none, "{...}" for what is meant for the generator.
        body: its lines, each with its end.
        title: the name of the file it is, or "".
        job: the background job, like "%1", whose output it shows, or "".
        not_run: the name under which it is listed as not run, or "".
        reason: why it is not.
        elsewhere: the test that is responsible for it, or "".
    """

    place: str
    language: str
    body: str
    title: str = ""
    job: str = ""
    not_run: str = ""
    reason: str = ""
    elsewhere: str = ""


def blocks_of(page: Path) -> list[Block]:
    """All blocks, hidden ones among them. Raises Malformed."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    before = ""  # the last line that was not empty
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        place = f"{page.name}:{number}"
        if GENERATED.fullmatch(line):
            number = lines.index(GENERATED_END, number)
            continue
        fence, hidden = FENCE.fullmatch(line), HIDDEN.fullmatch(line)
        if fence:
            indent, end = len(fence["indent"]), fence["indent"] + fence["marks"]
        elif hidden and "-->" not in line:
            indent, end = 0, "-->"
        else:
            before = line.strip() or before
            continue
        try:
            last = lines.index(end, number)
        except ValueError:
            raise Malformed(f"{place}: the block has no end") from None
        body = "".join(f"{text[indent:]}\n" for text in lines[number:last])
        opened = fence or hidden
        found.append(_block(place, opened["language"], opened["rest"], body, before))
        number, before = last + 1, ""
    return found


def needs_of(page: Path) -> list[str]:
    """The programs without which the page cannot be run."""
    return NEEDS.findall(page.read_text())


def programs_of(blocks: list[Block]) -> list[str]:
    """The programs that the commands of these blocks call, in order."""
    found: dict[str, None] = {}
    for block in blocks:
        if block.language != "console" or block.not_run or block.elsewhere:
            continue
        for command in commands_of(block.body):
            words = COMMAND.findall(re.sub(r"'[^']*'", "''", command))
            found |= dict.fromkeys(word for word in words if word not in SHELL | OURS)
    return list(found)


def commands_of(body: str) -> list[str]:
    """The commands of a console block, without what they print."""
    found = re.findall(r"^\$ (.*(?:\n> .*)*)", body, re.MULTILINE)
    return [re.sub("^> ", "", command, flags=re.MULTILINE) for command in found]


def _block(place: str, language: str, rest: str, body: str, before: str) -> Block:
    attributes = dict(ATTRIBUTE.findall(rest))
    if ATTRIBUTE.sub("", rest).strip() or set(attributes) - {"title", "from"}:
        raise Malformed(f"{place}: {rest.strip()!r} is neither title=\"...\" nor from=\"...\"")
    not_run, elsewhere = NOT_RUN.fullmatch(before), ELSEWHERE.fullmatch(before)
    return Block(
        place, language, body, attributes.get("title", ""), attributes.get("from", ""),
        *(not_run.groups() if not_run else ("", "")), elsewhere[1] if elsewhere else "",
    )  # fmt: skip
