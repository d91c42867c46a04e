"""The tests of the pages can fail: pages with one mistake each, and what is said about it."""

import re

import pytest

from tests.docs.blocks import Malformed, blocks_of, programs_of
from tests.docs.session import Session, Wrong, pattern

APP = """
```python title="app.py"
def app(request):
    return "hello\\n"
```
"""

SERVED = """
```console
$ greenhttp app:app -b 127.0.0.1:8000 &
$ curl -s http://127.0.0.1:8000/
hello
```
"""


def run(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with Session(tmp_path) as session:
        session.run(blocks_of(page))


def test_a_page_that_is_right(tmp_path):
    text = (
        "# Page\n\n" + APP + SERVED
        + "\n```console\n$ kill %1\n$ echo no; (exit 3)\nno\n$ echo $?\n3\n```\n"
        + '\n```text from="%1"\n... stopping; running requests have 30 s to finish\n```\n'
        + '\n```python\nprint("a", 7)\n```\n\n```text\na ...\n```\n'
        + '\n```toml\nworkers = 2\n```\n'
        + "\n<!-- console\n$ echo hidden\nhidden\n-->\n"
        + "\n<!-- not run elsewhere: it would take too long -->\n```console\n$ false\n```\n"
    )  # fmt: skip
    run(tmp_path, text)


WRONG = {
    "another answer": (APP + SERVED.replace("hello", "bye"), r"page.md:7: curl .*\nprints\nhello"),
    "a line too few": ("```console\n$ printf 'a\\nb\\n'\na\n```", "prints\na\nb"),
    "a line too many": ("```console\n$ echo a\na\nb\n```", "prints\na\n"),
    "output that is not shown": ("```console\n$ echo a\n```", "prints\na\n"),
    "a command that fails in silence": ("```console\n$ false\n```", "false\nends with 1"),
    "another exit code": ("```console\n$ echo a; (exit 3)\na\n$ echo $?\n4\n```", "prints\n3"),
    "an exception": ("```python\nassert 1 == 2\n```", "it ends with 1"),
    "a warning": ("```python\nimport warnings\nwarnings.warn('old')\n```", "it ends with 1"),
    "another output of Python": ("```python\nprint(1)\n```\n\n```text\n2\n```", "it prints\n1"),
    "a setting that is not there": ("```toml\nworker = 2\n```", "there is no such setting"),
    "a file that nothing uses": (APP, "no later block uses app.py"),
    "a language nobody runs": ("```ruby\n1\n```", "nobody knows how to run ruby"),
    "text out of nowhere": ("```text\n1\n```", "nobody knows how to run text"),
    "output without a command": ("```console\na\n```", "a command begins with"),
    "a job that does not start": ("```console\n$ greenhttp nothing:app &\n```", "says\n.*nothing"),
    "a job that says something else": (
        "```console\n$ bash -c 'echo up; echo down' &\nup\n```\n```text from=\"%1\"\nsideways\n```",
        "does not say that, but\ndown",
    ),
    "a job that is not there": ("```console\n$ kill %1\n```", "there is no job %1"),
    "a job with a bad end": (
        "```console\n$ bash -c 'trap \"exit 4\" TERM; echo up; while :; do sleep 0.1; done' &\nup\n```",
        "ended with 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_page_with_a_mistake(tmp_path, text, said):
    with pytest.raises(Wrong, match=f"(?s){said}"):
        run(tmp_path, text)


@pytest.mark.parametrize("text", ["```python\n1\n", "```python file=x\n```", '```python name="x"\n```'])
def test_a_page_that_cannot_be_read(tmp_path, text):
    with pytest.raises(Malformed, match="^page.md:1: "):
        run(tmp_path, text)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a \n", True),
        ("a...c\n", "abc\n", True),
        ("a...c\n", "ab\nc\n", False),
        ("...\nc\n", "a\nb\nc\n", True),
        ("...\nc\n", "c\n", True),
        ("a.\n", "ab\n", False),
        ("a\n...\n", "a\n", True),
    ],
)
def test_dots_stand_for_anything(shown, printed, same):
    assert bool(pattern(shown).fullmatch(printed)) is same


def test_a_free_port_stands_in_for_the_one_that_is_written(tmp_path):
    with Session(tmp_path) as session:
        real = session._real('-b :8000 --port 8000 ("::1", 8000) PORT=8000 size 8000 :8443')
        port, tls = session.ports["8000"], session.ports["8443"]
        assert real == f'-b :{port} --port {port} ("::1", {port}) PORT={port} size 8000 :{tls}'
        assert session._shown(f"at :{port}, not 1{port}") == f"at :8000, not 1{port}"


# ---- programs that are missing


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ("curl -s http://127.0.0.1:8000/ | wc -c", ["curl", "wc"]),
        ("NAME=value sort -u && uniq", ["sort", "uniq"]),
        ("until [ \"$(curl -s x)\" = two ]; do sleep 0.1; done; rm -r one", ["curl", "sleep", "rm"]),
        ("python -c 'import os; print(1)' && greenhttp --version | head", ["head"]),
        ("cat <<< one\n> && tac", ["cat", "tac"]),
        ("echo no; (exit 3)", []),
    ],
)
def test_the_programs_of_a_command(tmp_path, command, programs):
    page = tmp_path / "page.md"
    page.write_text(f"```console\n$ {command}\nit prints | this\n```\n")
    assert programs_of(blocks_of(page)) == programs


def test_blocks_that_are_not_run_need_no_program(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run x: why -->\n```console\n$ ab\n```\n<!-- tested by y -->\n```console\n$ cd; ed\n```\n")
    assert programs_of(blocks_of(page)) == []


ABSENT = "```console\n$ echo 1 | no-such-program -x\n```"


def test_a_page_whose_program_is_missing_is_skipped(tmp_path, monkeypatch):
    monkeypatch.delenv("REQUIRE_SERVICES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="^not installed: no-such-program$"):
        run(tmp_path, ABSENT)


def test_where_all_programs_are_said_to_be_there_it_fails_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUIRE_SERVICES", "1")
    with pytest.raises(Wrong, match=f"^{re.escape('not installed: no-such-program')}$"):
        run(tmp_path, ABSENT)


def test_a_generated_list_is_no_block(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: x; do not edit -->\n```python\nf(x)\n```\n<!-- generated: end -->\n")
    assert blocks_of(page) == []
