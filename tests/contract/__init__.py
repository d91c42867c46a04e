"""The wire contract: numbered rules, as tables of bytes in and answers out. A rule's own words head its table.

cases.py           what an entry says, and how entries are written
heads.py           rules 1 to 5, 10, 13 to 15 and 21: what a request head may be
bodies.py          rules 6 to 9, 11, 12 and 22: where content ends
smuggling.py       every combination of Content-Length and Transfer-Encoding, judged by an oracle of its own
sending.py         rules 16 to 20: what an application says and what leaves, judged by another oracle
running.py         both ways to run entries: a server process over TCP, and in memory in every split
process.py         that server process
parsers.py         one request as this server, h11 and llhttp read it
test_reading.py, test_smuggling.py, test_sending.py, test_differential.py, test_tls.py
"""
