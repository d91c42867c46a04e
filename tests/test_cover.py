"""tests/cover.py: that what `make coverage` prints is true."""

from __future__ import annotations

from pathlib import Path

from tests.cover import DECLARED, Compiled, ran, ran_verbatim

# The shape of what Cython writes: a comment with the place, then C. The counts are those of gcov, by line, below.
C = """\
/* "greenhttp/wire/a.pyx":10
 * cdef int f(int x):
 *     if x:             # <<<<<<<<<<<<<<
*/
static int f(int x) {
    int r;
    /* "greenhttp/wire/a.pyx":11
 *     if x:             # <<<<<<<<<<<<<<
    */
    t = (x != 0);
    if (t) {
      /* "greenhttp/wire/a.pyx":12
 *     g()             # <<<<<<<<<<<<<<
      */
      g();
      __pyx_L3_error:;
      recover();
    }
    switch (x) {
      case 1:
      /* "greenhttp/wire/a.pyx":14
 *     elif x == 2:             # <<<<<<<<<<<<<<
      */
      break;
      case 2:
      /* "greenhttp/wire/a.pyx":15
 *     h()             # <<<<<<<<<<<<<<
      */
      h();
      /* "greenhttp/wire/a.pyx":14
 *     elif x == 2:             # <<<<<<<<<<<<<<
      */
      break;
      default: break;
    }
    /* "greenhttp/wire/a.pyx":17
 *     finally: k()             # <<<<<<<<<<<<<<
    */
    /*finally:*/ {
      /*normal exit:*/{
        k();
      }
      /*exception exit:*/{
        __pyx_t_1 = 0;
        k();
      }
      __pyx_L4_return: {
        __pyx_t_2 = __pyx_r;
        k();
      }
    }
    /* "greenhttp/wire/a.pyx":10
 * cdef int f(int x):             # <<<<<<<<<<<<<<
    */
}
helper();
""".splitlines()


def counts(**by_text: int) -> dict[int, int]:
    """`f=3` for the C line that begins with `f`, each such line in turn if there are more."""
    return {
        number: count
        for number, text in enumerate(C, 1)
        for start, count in by_text.items()
        if text.lstrip().startswith(start)
    }


def test_a_line_has_run_if_its_first_statement_in_c_has() -> None:
    found = list(ran(C, counts(static=3, t=3, g=0, recover=1, h=0)))
    assert found == [
        ("greenhttp/wire/a.pyx", 10, 3),
        ("greenhttp/wire/a.pyx", 11, 3),
        ("greenhttp/wire/a.pyx", 12, 0),  # not what an error handler behind it says
        ("greenhttp/wire/a.pyx", 15, 0),
    ]


def test_what_ends_a_branch_of_a_switch_belongs_to_no_line() -> None:
    assert list(ran(C, counts(**{"break": 0, "default": 0}))) == []


def test_a_finally_has_run_whichever_way_it_was_left() -> None:
    by_way = {"__pyx_t_1": 0, "__pyx_t_2": 4}
    found = list(ran(C, {**counts(**by_way), 1 + C.index("        k();"): 0}))
    assert found == [("greenhttp/wire/a.pyx", 17, count) for count in (0, 0, 4)]


def test_what_comes_after_a_function_belongs_to_no_line() -> None:
    assert list(ran(C, counts(helper=1))) == []


def test_c_that_stands_in_the_source_is_counted_where_it_stands() -> None:
    verbatim = ["    #include <a.h>", "    int f(void) {", "        return 1;", "    }"]
    source = "\n".join(["x = 1", "cdef extern from *:", '    """', *verbatim, '    """', ""])
    c = ["/* before */", *verbatim, "other();"]
    assert list(ran_verbatim(source, c, {3: 2, 4: 0, 6: 1})) == [(5, 2), (6, 0)]
    assert list(ran_verbatim(source, c[2:], {1: 2})) == []


def test_attributes_are_declarations_and_functions_are_not() -> None:
    assert DECLARED.match("    cdef readonly bint done     # why")
    assert DECLARED.match("    cdef public object timeout")
    assert not DECLARED.match("cdef inline bint clean(const char* p) noexcept nogil:")


def test_lines_left_out_say_so(tmp_path: Path) -> None:
    path = tmp_path / "a.pyx"
    path.write_text("one\ntwo  # pragma: no cover  only on macOS\nthree\n")
    report = Compiled(str(path), [1, 2])
    assert (report.lines(), report.excluded_lines()) == ({1, 2}, {2})
