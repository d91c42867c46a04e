"""program/loading.py: a text becomes an application, or one clear line, or the application's own traceback."""

import sys

import pytest

from greenhttp.errors import AppError
from greenhttp.program.loading import AppImportError, load
from greenhttp.traces import trace


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write("web.py", code): a file in the current directory; what is imported from there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write_file(name, code=""):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)

    yield write_file
    for name in set(sys.modules) - before:
        del sys.modules[name]


APP = "def app(environ, start_response): return [b'app']\n"
TAKING = "def create(*args, **named):\n  assert (args, named) == ({}, {})\n  return app"


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("web_a", APP),
        ("web_b:app", APP),
        ("web_c", "app = None\n" + APP.replace("app", "application")),
        ("web_d:create()", APP + "def create(debug=False): return app"),
        ("web_e:site.inner.app", APP + "class site:\n  class inner: pass\nsite.inner.app = staticmethod(app)"),
        ("web_f:Site", APP + "class Site:\n  def __init__(self, environ, start_response): pass"),
        ("web_g:site", APP + "class Site:\n  def __call__(self, environ, start_response): pass\nsite = Site()"),
        ("web_i:create('production', workers=2)", APP + TAKING.format(("production",), {"workers": 2})),
        (
            'web_j: create (-1, [1.5, None], {"a:b": (True, b"x")}, ) ',
            APP + TAKING.format((-1, [1.5, None], {"a:b": (True, b"x")}), {}),
        ),
        ("web_k:create(')(', d=\"'\")", APP + TAKING.format((")(",), {"d": "'"})),
        ("web_l:make.app(1)", APP + "class make:\n  @staticmethod\n  def app(one): return app"),
        ("web_h:make.app()", APP + "class make:\n  @staticmethod\n  def app(): return app"),
    ],
)
def test_what_can_be_named(write, spec, code):
    write(spec.partition(":")[0] + ".py", code)
    assert callable(load(spec))


def test_the_current_directory_comes_first(write, tmp_path, monkeypatch):
    write("elsewhere/twice.py", "app = None")
    write("twice.py", APP)
    sys.path.insert(0, str(tmp_path / "elsewhere"))
    assert load("twice:app")
    assert sys.path[0] == str(tmp_path)
    before = list(sys.path)
    load("twice:app")
    assert sys.path == before


def test_a_module_in_a_package(write):
    write("shop/__init__.py")
    write("shop/web.py", APP)
    assert load("shop.web:app")


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("", "no module"),
        (":app", "no module"),
        ("web.py", "web.py is a file name; give the module: web; settings are given with -c web.py$"),
        ("s.toml", "s.toml is a file name; give module or module:name, and settings with -c s.toml$"),
        ("log.ini", "log.ini is a file name; give module or module:name$"),
        ("uwsgi.ini", "uwsgi.ini: uWSGI's files are not read; give the settings as options, or in a .toml file$"),
        ("web.py:app", "give the module: web:app$"),
        ("src/web.py:app", "give the module: --chdir src web:app$"),
        ("we b", "'we b' is not a module name"),
        (".web", "'.web' is not a module name"),
        ("web:", "no name after the colon"),
        ("web:()", "no name after the colon"),
        ("web:a b", "'a b' is not a name; give module:name"),
        ("web:create(", r"web:create\(: create\( is not a call \(.*\); give a call with literals, like mod"),
        ("web:create()()", "is not one call; give a call with literals"),
        ("web:create().app", "is not one call; give a call with literals"),
        ("web:create()[0](1)", "is not one call; give a call with literals"),
        ("web:create() + 1", "is not one call; give a call with literals"),
        ("web:create(x)", "the argument x is not a literal; give a call with literals"),
        ("web:create(a, b=open('f'))", "the argument a is not a literal"),
        ("web:create(b=open('f'))", r"the argument open\('f'\) is not a literal"),
        ("web:create(*'ab')", r"the argument \*'ab' is not a literal"),
        ("web:create(**{})", r"\*\* cannot be used; give a call with literals"),
        ("web:create(a=1, a=2)", "a is given twice; give a call with literals"),
        ("web:create({[]: 1})", r"the argument \{\[\]: 1\} is not a literal"),
        ("web:needs(1, 2)", r"needs cannot be called like that \(too many positional arguments\); give a call with"),
        ("web:needs(y=1)", r"needs cannot be called like that \(missing a required argument: 'x'\)"),
        ("wbe", r"there is no module wbe in .*; did you mean web\?$"),
        ("wbe:app", r"did you mean web\?$"),
        ("zzzz", "there is no module zzzz in .* or where Python looks$"),
        ("shop.wep", r"there is no module shop.wep in shop; did you mean shop.web\?$"),
        ("web.app", "web is a module, not a package; for its attribute give web:name$"),
        ("web.app.x", "web is a module, not a package"),
        ("web:ap", r"web has no attribute ap; did you mean app\?$"),
        ("web:app.nothing", "web.app has no attribute nothing$"),
        ("web:text", "of type str cannot be called; give an application$"),
        ("web:none", "None cannot be called; give an application"),
        ("web:text()", "text is of type str and cannot be called$"),
        ("web:needs()", r"needs cannot be called like that \(missing a required argument: 'x'\)"),
        ("web:nothing()", "None cannot be called; give an application"),
        ("web:os", "os is a module; name the application in it$"),
        ("web:later", "a coroutine function"),
        ("web:later_too", "a coroutine function"),
        ("web:leaves()", r"leaves\(\) called sys.exit\(4\)$"),
        ("empty", "empty has neither application nor app; give the name: empty:NAME$"),
        ("factory", r"factory has a factory; give factory:create_app\(\)$"),
        ("other", r"other has a factory; give other:create\(\)$"),
        ("leaving", r"leaving called sys.exit\('bye'\) while it was imported$"),
    ],
)
def test_one_line_for_a_name_that_leads_nowhere(write, spec, line):
    write(
        "web.py",
        APP + "import os, sys\ntext = 'x'\nnone = None\ndef needs(x): pass\ndef nothing(): pass\n"
        "async def later(scope, receive, send): pass\nclass Later:\n  async def __call__(self, a, b, c): pass\n"
        "later_too = Later()\ndef leaves(): sys.exit(4)\n",
    )
    write("shop/__init__.py")
    write("shop/web.py", APP)
    write("empty.py")
    write("factory.py", "def create_app(): pass")
    write("log.ini", "[loggers]\nkeys = root\n")
    write("uwsgi.ini", "[uwsgi]\nmodule = web\n")
    write("other.py", "def create(env): pass")
    write("leaving.py", "raise SystemExit('bye')")
    with pytest.raises(AppError, match=line) as caught:
        load(spec)
    assert not isinstance(caught.value, AppImportError)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def shown(caught):
    return trace(caught.value.__cause__)


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("import nothing_like_this", "ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import broken.inner", "ModuleNotFoundError: No module named 'broken.inner'; 'broken' is not a package"),
        ("def f(:", "SyntaxError: "),
        ("import helper", "KeyError: 'x'"),
    ],
)
def test_the_applications_own_failure_keeps_its_traceback_and_nothing_else(write, code, last):
    write("broken.py", code)
    write("helper.py", "{}['x']")
    with pytest.raises(AppImportError, match="^broken:app: importing broken failed: ") as caught:
        load("broken:app")
    text = shown(caught)
    assert last in text
    assert "broken.py" in text
    assert "importlib" not in text
    assert "loading.py" not in text
    assert text.count("Traceback") == (0 if "SyntaxError" in last else 1)


def test_a_missing_module_of_the_same_name_inside_the_application_is_the_applications_failure(write):
    write("outer/__init__.py", "import outer.gone")
    with pytest.raises(AppImportError, match="No module named 'outer.gone'"):
        load("outer.gone:app")


def test_a_factory_that_raises(write):
    write("fact.py", "def create():\n    raise RuntimeError('no database')")
    with pytest.raises(AppImportError, match=r"create\(\) failed: RuntimeError: no database$") as caught:
        load("fact:create()")
    text = shown(caught)
    assert "fact.py" in text
    assert "loading.py" not in text


def test_an_interrupt_during_the_import_is_not_hidden(write):
    write("slow.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load("slow")
