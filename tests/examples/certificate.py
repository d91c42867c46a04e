"""A certificate for localhost, as the examples about TLS say how to make one."""

import ast
import subprocess

from tests.examples.example import EXAMPLES, TIMEOUT


def made_as_it_says(name, directory):
    """The paths of cert.pem and key.pem, made by the command that the example shows."""
    says = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
    command = says[says.index("openssl req") : says.index("-keyout key.pem")] + "-keyout key.pem"
    subprocess.run(["sh", "-c", command], cwd=directory, check=True, capture_output=True, timeout=TIMEOUT)
    return str(directory / "cert.pem"), str(directory / "key.pem")
