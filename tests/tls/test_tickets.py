"""tls/tickets.py: when a key is made, and how long it opens tickets."""

from greenhttp.tls.tickets import FRESH, KEPT, MOST, SIZE, TicketKeys


def test_the_first_key_is_made_at_once_and_seals_half_a_day():
    tickets = TicketKeys(1000.0)
    (first,) = tickets.keys
    assert len(first) == SIZE
    assert not tickets.look(1000.0 + FRESH - 1) and tickets.keys == (first,)
    assert tickets.look(1000.0 + FRESH)
    second, kept = tickets.keys
    assert kept == first != second
    assert not tickets.look(1000.0 + FRESH)


def test_a_key_opens_for_a_day_after_it_has_ceased_to_seal():
    tickets = TicketKeys(0.0)
    (first,) = tickets.keys
    tickets.add(10.0)
    second = tickets.keys[0]
    assert KEPT > FRESH
    tickets.look(10.0 + FRESH)
    assert tickets.keys[1:] == (second, first)
    assert not tickets.look(10.0 + KEPT - 1) or first in tickets.keys
    assert tickets.look(10.0 + KEPT) and first not in tickets.keys and second in tickets.keys


def test_the_newest_key_is_never_dropped():
    tickets = TicketKeys(0.0)
    tickets.look(100 * KEPT)
    assert len(tickets.keys) == 2  # the one that sealed until now, and a new one


def test_there_are_no_more_keys_than_a_server_takes():
    tickets = TicketKeys(0.0)
    for when in range(20):
        tickets.add(float(when))
    assert len(tickets.keys) == MOST
    assert tickets.made[0][1] == 19.0


def test_those_of_a_program_before_are_taken_with_their_age():
    before = TicketKeys(0.0)
    before.add(5.0)
    after = TicketKeys(FRESH, before.made)
    assert after.keys == before.keys
    assert not after.look(FRESH + 4.9) and after.look(FRESH + 5.0)
    assert after.keys[1:] == before.keys


def test_a_clock_that_goes_back_makes_and_drops_nothing():
    tickets = TicketKeys(1e9)
    tickets.add(1e9)
    before = tickets.keys
    assert not tickets.look(1e9 - 10 * KEPT) and tickets.keys == before


def test_after_a_clock_was_set_back_keys_change_as_ever():
    tickets = TicketKeys(2e9)
    before = tickets.keys
    assert not tickets.look(1e9)
    assert tickets.look(1e9 + FRESH) and tickets.keys[0] != before[0] == tickets.keys[1]


def test_no_key_is_in_the_repr():
    tickets = TicketKeys(0.0)
    assert repr(tickets) == "<1 ticket keys>" and str(tickets.keys[0]) not in repr(tickets)
