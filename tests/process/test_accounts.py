"""process/accounts.py: who is meant by a name or a number."""

import os

import pytest

from greenhttp.errors import ConfigError
from greenhttp.process.accounts import group_id, owner_ids, user_id


@pytest.mark.parametrize(
    ("text", "ids"),
    [("root", (0, -1)), ("0:0", (0, 0)), (":0", (-1, 0)), ("4294967294:12", (4294967294, 12)), ("root:0", (0, 0))],
)
def test_an_owner_is_a_user_a_group_or_both(text, ids):
    assert owner_ids(text, "socket_owner") == ids


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no user and no group"),
        (":", "has no user and no group"),
        ("root:", "has no group after the colon"),
        ("nobody-of-that-name", "there is no user 'nobody-of-that-name'; give an existing"),
        ("root:nobody-of-that-name", "there is no group 'nobody-of-that-name'; give an existing"),
        ("4294967295", "there is no user '4294967295'; give an existing"),
        ("a\0b", "there is no user"),
    ],
)
def test_who_is_not_there_is_one_line_that_names_the_setting(text, said):
    with pytest.raises(ConfigError, match="^socket_owner: ") as caught:
        owner_ids(text, "socket_owner")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_number_needs_no_entry():
    assert (user_id("4294967294"), group_id("4294967294")) == (4294967294, 4294967294)
    assert user_id(str(os.getuid())) == os.getuid()
