"""The command with TLS by way of Python's SSLObject, as where OpenSSL's functions cannot be called directly:

python -m perf.tools.simple OPTION ...
"""

import runpy
import sys

sys.argv[0] = "greenhttp"
__import__("greenhttp.patch")  # before `ssl` is imported, as the command has it
__import__("greenhttp.green.tls", fromlist=["tls"]).force_simple = True
runpy.run_module("greenhttp", run_name="__main__")
