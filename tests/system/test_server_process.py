"""The server as a process of its own, under real clients and load; and inside other programs."""

import contextlib
import hashlib
import json
import re
import selectors
import signal
import socket
import subprocess
import textwrap
import urllib.request
from pathlib import Path

import pytest

from tests.hosting.serving import Client
from tests.lines import plain
from tests.system.busy_app import BLOCK
from tests.system.process import Command, Process, ended, needs

HERE = Path(__file__).parent

MIB = 1 << 20


@pytest.fixture(scope="module")
def url():
    with Command(HERE, "-b", "127.0.0.1:0", "busy_app:app") as command:
        yield command.url()


def place(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


needs_curl = needs("curl")


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("content") / "content"
    path.write_bytes(b"".join(BLOCK[n:] + BLOCK[:n] for n in range(160)))
    return path


def told_of(path):
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


# ---- concurrency and size


def test_200_requests_sleep_together(url):
    count = 200
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        clients = [stack.enter_context(Client(place(url))) for _ in range(count)]
        for client in clients:
            client.request("GET", f"/sleeping?{count}")
            waiting.register(client.socket, selectors.EVENT_READ, client)
        answers = [client.read() for client in clients]
    assert {(answer.status, answer.text) for answer in answers} == {(200, str(count))}


def test_a_large_answer_arrives_whole_and_is_never_in_memory(url):
    get(f"{url}/download?1")
    before = int(get(f"{url}/memory"))
    size = 64
    digest, expected, received = hashlib.sha256(), hashlib.sha256(), 0
    with urllib.request.urlopen(f"{url}/download?{size}", timeout=60) as answer:
        while data := answer.read(MIB):
            digest.update(data)
            received += len(data)
    for _ in range(size * 16):
        expected.update(BLOCK)
    assert (received, digest.digest()) == (size * MIB, expected.digest())
    assert int(get(f"{url}/memory")) - before < 16 * MIB


def test_a_client_that_does_not_read_does_not_fill_the_memory(url):
    before = int(get(f"{url}/memory"))
    with Client(place(url)) as slow:
        slow.request("GET", "/download?64")
        assert slow.file.readline() == b"HTTP/1.1 200 OK\r\n"
        for _ in range(20):
            assert get(f"{url}/x") == b"/x GET"  # others are served meanwhile
        assert int(get(f"{url}/memory")) - before < 16 * MIB


# ---- curl


@needs_curl
def test_curl_uploads_with_a_length(url, content):
    told = json.loads(curl("-T", content, f"{url}/upload"))
    assert told_of(content).items() <= told.items()
    assert told["CONTENT_LENGTH"] == str(content.stat().st_size)


@needs_curl
@pytest.mark.parametrize("extra", [[], ["-H", "Expect:"], ["-H", "Expect: 100-continue"]])
def test_curl_uploads_in_chunks(url, content, extra):
    told = json.loads(curl("-H", "Transfer-Encoding: chunked", *extra, "-T", content, f"{url}/upload"))
    assert told_of(content).items() <= told.items()
    assert (told["CONTENT_LENGTH"], told["HTTP_TRANSFER_ENCODING"]) == (None, None)


@needs_curl
def test_curl_waits_for_100_continue_before_a_large_body(url, content):
    # Without the 100 curl would wait for its time-out, which is longer here than the request may take.
    command = ["--http1.1", "--expect100-timeout", "1000", "-H", "Expect: 100-continue", "-i"]
    head, _, rest = curl(*command, "--data-binary", f"@{content}", f"{url}/upload").partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 100 Continue"
    told = json.loads(rest.partition(b"\r\n\r\n")[2])
    assert told_of(content).items() <= told.items()
    assert told["HTTP_EXPECT"] == "100-continue"


@needs_curl
def test_curl_does_not_send_a_body_that_is_not_wanted(url, content):
    command = ["--http1.1", "--expect100-timeout", "1000", "-H", "Expect: 100-continue", "-w", " %{size_upload}"]
    assert curl(*command, "--data-binary", f"@{content}", f"{url}/unread") == b"not for you 0"


@needs_curl
def test_curl_sees_the_answer_although_its_body_is_not_read(url, content):
    assert curl("-H", "Expect:", "--data-binary", f"@{content}", f"{url}/unread") == b"not for you"


@needs_curl
def test_curl_with_http_1_0(url):
    expected = hashlib.sha256(BLOCK * 64).digest()
    assert hashlib.sha256(curl("--http1.0", f"{url}/download?4")).digest() == expected
    assert curl("--http1.0", f"{url}/x", f"{url}/y") == b"/x GET/y GET"
    assert curl("-0", "-I", f"{url}/x").startswith(b"HTTP/1.1 200 OK\r\n")


@needs_curl
def test_curl_keeps_its_connection(url):
    counts = curl("-w", " %{num_connects}\n", f"{url}/a", f"{url}/b", f"{url}/c")
    assert counts == b"/a GET 1\n/b GET 0\n/c GET 0\n"


# ---- pipelining


def test_pipelined_requests_are_answered_in_order(url):
    count = 500
    requests = []
    for n in range(count):
        if n % 3:
            requests.append(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n)
        else:
            requests.append(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde" % n)
    with Client(place(url)) as client:
        client.send(b"".join(requests))
        for n in range(count):
            assert client.read().text == f"/{n} {'GET' if n % 3 else 'POST'}"


def test_a_request_after_an_error_in_the_pipeline_is_not_answered(url):
    with Client(place(url)) as client:
        client.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read().text == "/1 GET"
        refused = client.read()
        assert (refused.status, refused["connection"]) == (400, "close")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.at_end()


# ---- signals


def begun(command):
    """A client whose request runs, and waits for the rest of its body."""
    client = Client(place(command.url()))
    client.request("POST", "/told", "Content-Length: 8")
    command.until("running")
    return client


def test_term_answers_the_running_request_and_says_that_the_connection_ends():
    with Command(HERE, "-b", "127.0.0.1:0", "busy_app:app") as command, begun(command) as client:
        with Client(client.address) as idle:
            idle.get("/x")
            command.send_signal(signal.SIGTERM)
            command.until("stopping")
            assert idle.at_end()
        with pytest.raises(ConnectionRefusedError):
            Client(client.address)
        client.send(b"finished")
        answer = client.read()
        assert (answer.status, answer.text, answer["connection"]) == (200, "finished", "close")
        assert client.at_end()
        assert ended(command) == (0, "", "INFO stopped\n")


def test_term_cuts_a_request_that_takes_too_long_says_which_and_exits_with_0():
    short = "--graceful-timeout", "100ms", "--drain-linger", "0"
    with Command(HERE, "-b", "127.0.0.1:0", *short, "busy_app:app") as command, begun(command) as client:
        command.send_signal(signal.SIGTERM)
        answer = client.read()
        assert (answer.status, answer["connection"]) == (503, "close")
        assert client.at_end()
        code, out, err = command.rest()
    assert (code, out) == (0, "")
    assert " WARNING 1 request cut: not finished within 0.1 s (graceful_timeout):\n    127.0.0.1:" in err
    where = r"POST /told: running for \d+\.\d s, waiting for its content, at .*busy_app\.py:\d+ in told\(\)"
    assert re.fullmatch(where, err.splitlines()[-2].split(": ", 1)[1])


def test_int_ends_at_once_although_a_request_runs():
    patient = "--graceful-timeout", "1h"
    with Command(HERE, "-b", "127.0.0.1:0", *patient, "busy_app:app") as command, begun(command) as client:
        command.send_signal(signal.SIGINT)
        code, out, err = command.rest()
        sent, cut, last = plain(err).splitlines()
        assert (code, out) == (0, "") and " SIGINT, sent by process " in sent
        assert (cut, last) == ("INFO 1 request cut: the server stops at once", "INFO stopped")
        assert client.read().status == 503
        assert client.at_end()


def test_a_second_signal_ends_a_process_that_waits():
    with Command(HERE, "-b", "127.0.0.1:0", "--graceful-timeout", "1h", "busy_app:app") as command, begun(command):
        command.send_signal(signal.SIGTERM)
        command.until("stopping")
        command.send_signal(signal.SIGINT)
        assert ended(command) == (1, "", "WARNING stopped by force\n")


def test_term_sent_twice_is_one_request_to_stop():
    patient = "--graceful-timeout", "1h"
    with Command(HERE, "-b", "127.0.0.1:0", *patient, "busy_app:app") as command, begun(command) as client:
        command.send_signal(signal.SIGTERM)
        command.until("stopping")
        command.send_signal(signal.SIGTERM)
        client.send(b"finished")
        assert client.read().text == "finished"
        assert ended(command) == (0, "", "INFO stopped\n")


# ---- addresses


def test_two_addresses_at_once(tmp_path):
    with Command(HERE, "-b", "127.0.0.1:0", "-b", f"unix:{tmp_path}/s", "busy_app:app") as command:
        assert get(f"{command.url()}/tcp") == b"/tcp GET"
        with Client(f"{tmp_path}/s") as client:
            assert client.get("/unix").text == "/unix GET"


@needs_curl
def test_curl_over_a_unix_socket(tmp_path):
    with Command(HERE, "-b", f"unix:{tmp_path}/s", "busy_app:app") as command:
        command.until("Ctrl-C")
        assert curl("--unix-socket", f"{tmp_path}/s", "http://x/a", "http://x/b") == b"/a GET/b GET"


# ---- inside other programs


def program(tmp_path, text):
    (tmp_path / "program.py").write_text(textwrap.dedent(text))
    with Process(tmp_path, "-W", "error", "program.py") as process:
        return process.rest()


APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"embedded"]
"""


def test_importing_greenhttp_changes_nothing_in_a_program(tmp_path):
    assert program(
        tmp_path,
        """
        import signal, socket, sys, threading, time
        before = socket.socket, time.sleep, threading.Lock, signal.getsignal(signal.SIGINT), threading.active_count()
        import greenhttp
        assert "gevent" not in sys.modules
        greenhttp.Server, greenhttp.Stream
        after = socket.socket, time.sleep, threading.Lock, signal.getsignal(signal.SIGINT), threading.active_count()
        assert before == after
        from gevent import monkey
        assert not monkey.is_module_patched("socket")
        print("same")
        """,
    ) == (0, "same\n", "")


def test_a_gevent_program_embeds_a_server(tmp_path):
    (tmp_path / "web.py").write_text(APP)
    assert program(
        tmp_path,
        """
        import signal, threading
        import gevent
        from gevent import socket
        from greenhttp import Server
        from web import app

        numbers = signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD, signal.SIGHUP
        handlers = [signal.getsignal(number) for number in numbers]
        server = Server(app, bind=["127.0.0.1:0", "unix:s"])
        server.start()
        assert [signal.getsignal(number) for number in numbers] == handlers
        host, port = server.address
        assert host == "127.0.0.1" and port > 0
        assert server.addresses == [f"http://127.0.0.1:{port}", "unix:s"]

        def ask(address):
            with socket.socket(socket.AF_UNIX if address == "s" else socket.AF_INET) as client:
                client.connect(address)
                client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
                with client.makefile("rb") as file:
                    return file.read().endswith(b"embedded")

        jobs = [gevent.spawn(ask, address) for address in (server.address, "s") * 5]
        gevent.joinall(jobs)
        assert all(job.value for job in jobs)
        assert server.statistics()["requests"] == 10
        assert server.stop(10) and not server.started
        assert [signal.getsignal(number) for number in numbers] == handlers
        assert threading.active_count() == 1
        server.start()                      # and once more
        assert ask(server.address)
        assert server.stop(10)
        print("done")
        """,
    ) == (0, "done\n", "")


def test_two_servers_in_one_program(tmp_path):
    assert program(
        tmp_path,
        """
        import gevent
        from gevent import socket
        from greenhttp import Server

        def saying(word):
            def app(environ, start_response):
                start_response("200 OK", [("Content-Type", "text/plain")])
                return [word]
            return app

        one, two = (Server(saying(word), bind="127.0.0.1:0") for word in (b"one", b"two"))
        one.start(), two.start()

        def ask(server):
            with socket.create_connection(server.address) as client:
                client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                with client.makefile("rb") as file:
                    return file.read()[-3:]

        assert [ask(one), ask(two), ask(one)] == [b"one", b"two", b"one"]
        assert one.stop(10)
        assert ask(two) == b"two"
        assert two.stop(10)
        print("done")
        """,
    ) == (0, "done\n", "")


@pytest.mark.parametrize("ending", ["signal", "handler"])
def test_ctrl_c_ends_a_program_that_serves_for_ever(tmp_path, ending):
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import sys
            sys.path.insert(0, sys.argv[1])
            import greenhttp.patch
            from busy_app import app
            from greenhttp import Server

            server = Server(app, bind="127.0.0.1:0")
            server.start()
            print(f"serving at {server.addresses[0]} (Ctrl-C)", file=sys.stderr, flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
    )
    with Process(tmp_path, "program.py", str(HERE)) as process:
        address = place(process.url())
        with Client(address) as client:
            if ending == "signal":
                client.get("/x")
                process.send_signal(signal.SIGINT)
            else:
                client.request("GET", "/interrupted")  # where the signal would arrive while a handler computes
            assert process.rest()[:2] == (0, "interrupted\n")
