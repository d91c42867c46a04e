"""hello.py under the command."""

from tests.examples.example import Example
from tests.system.process import needs


@needs("curl")
def test_hello():
    with Example("-m", "greenhttp", "-b", "127.0.0.1:0", "hello:app") as example:
        assert example.curl(target="/you") == b"hello from /you\n"
