"""observe/atoms.py: formats and what is wrong with them."""

import pytest

from greenhttp.errors import ConfigError
from greenhttp.observe.atoms import ATOMS, KEYS, Step, parse

GUNICORN = (
    '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s %(B)s "%(f)s" "%(a)s" %(m)s %(U)s %(q)s %(H)s '
    "%(T)s %(M)s %(D)s %(L)s %(p)s %({name}i)s %({name}o)s %({name}e)s"
)
WAYS = "; give combined, common, json or atoms like %(h)s"


def test_every_atom_of_gunicorn_is_known():
    atoms = [step.atom for step in parse(GUNICORN) if step.atom != "text"]
    assert atoms == [*"hlutrsbB", "i", "i", *"mUqHTMDLp", "i", "o", "e"]
    assert set(ATOMS) == {*"hlutrsbBfamUqHTMDLp", "c", "id"}  # the last two are ours


def test_combined_is_common_and_two_fields_in_quotes():
    common, combined = parse("common"), parse("combined")
    assert combined == [
        *common,
        Step("text", ' "'), Step("i", "referer"),
        Step("text", '" "'), Step("i", "user-agent"), Step("text", '"'),
    ]  # fmt: skip


def test_text_between_atoms_is_kept_and_a_percent_sign_is_two():
    assert parse("a%%b%(s)s\té") == [Step("text", "a%b"), Step("s"), Step("text", "\té")]


def test_names_of_fields_have_no_case():
    assert parse("%({User-Agent}i)s%({ETag}o)s") == [Step("i", "user-agent"), Step("o", "etag")]


@pytest.mark.parametrize(
    ("key", "step"),
    [
        ("REMOTE_ADDR", Step("h")),
        ("REMOTE_PORT", Step("port")),
        ("RAW_URI", Step("target")),
        ("HTTP_X_REAL_IP", Step("i", "x-real-ip")),
        ("CONTENT_TYPE", Step("i", "content-type")),
        ("remote_port", Step("port")),
        ("http_x_real_ip", Step("i", "x-real-ip")),
        ("myapp.user", Step("e", "myapp.user")),
    ],
)
def test_the_environ_is_what_the_request_tells(key, step):
    assert parse(f"%(s)s%({{{key}}}e)s") == [Step("s"), step]


def test_json_has_its_keys_in_order():
    texts = [step.text for step in parse("json") if step.atom == "text"]
    assert texts == ['{"time":', *[f',"{key}":' for key in list(KEYS)[1:]], "}"]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("%(S)s", "there is no atom %(S)s; did you mean %(s)s?"),
        ("%(status)s", "there is no atom %(status)s; did you mean %(s)s?"),
        ("%(refferer)s", "there is no atom %(refferer)s; did you mean %(f)s?"),
        ("%(D)d", "there is no atom %(D)d; did you mean %(D)s?"),
        ("%({Host}x)s", "there is no atom %({Host}x)s; did you mean %({Host}i)s?"),
        ("%({Host)s", "there is no atom %({Host)s; did you mean %({Host}i)s?"),
        ("%(h)s %(", "'%(' is not an atom; write a percent sign as %%"),
        ("%(1)s", "there is no atom %(1)s; the atoms are h l u t r s b B f a m U q H T M D L p c id"),
        ("%h %l", "'%h' is not an atom; did you mean %(h)s?; write a percent sign as %%"),
        ("100%", "'%' is not an atom; write a percent sign as %%"),
        ("combind", f"'combind' has no atoms; did you mean combined?{WAYS}"),
        ("xyz", f"'xyz' has no atoms{WAYS}"),
        ("%(h)s\n", "'%(h)s\\n' has a control character; give a text of one line"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_nearest(form, says):
    with pytest.raises(ConfigError) as caught:
        parse(form)
    assert str(caught.value) == f"access_log_format: {says}"


@pytest.mark.parametrize("name", ["request_id", "x_request_id"])
def test_the_id_by_another_name(name):
    with pytest.raises(ConfigError, match=r"did you mean %\(id\)s\?"):
        parse(f"%({name})s")
