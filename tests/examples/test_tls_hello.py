"""tls_hello.py with curl, as a program and under the command."""

import pytest

from tests.examples.certificate import made_as_it_says
from tests.examples.example import Example, run
from tests.system.process import needs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return made_as_it_says("tls_hello", tmp_path_factory.mktemp("tls"))


def ask(example, certificate, *arguments):
    port = example.address[1]
    here = "--noproxy", "*", "--connect-to", f"localhost:8443:127.0.0.1:{port}"
    return run("curl", "-sS", *here, "--cacert", certificate, *arguments, "https://localhost:8443/you").decode()


@needs("curl")
@needs("openssl")
@pytest.mark.parametrize("way", ["program", "command"])
def test_hello_by_https(way, files):
    certificate, key = files
    arguments = {
        "program": ("tls_hello.py", certificate, key, "127.0.0.1:0"),
        "command": (
            "-m", "greenhttp", "tls_hello:hello", "-b", "127.0.0.1:0", "--certfile", certificate, "--keyfile", key
        ),
    }[way]  # fmt: skip
    with Example(*arguments) as example:
        assert ask(example, certificate).startswith("hello you, by TLSv1.3 with TLS_")
        assert ask(example, certificate, "--tls-max", "1.2").startswith("hello you, by TLSv1.2 with ECDHE-")
