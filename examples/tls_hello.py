"""Hello by https, from a program of its own.

    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \\
        -out cert.pem -keyout key.pem
    python tls_hello.py cert.pem key.pem [ADDRESS]
    greenhttp tls_hello:hello -b 127.0.0.1:8443 --certfile cert.pem --keyfile key.pem        the same by the command

    curl --cacert cert.pem https://localhost:8443/you
"""

import greenhttp.patch  # first

import sys


def hello(request):
    agreed = request.tls  # None for a request that came in plain text
    how = f"{agreed.version} with {agreed.cipher}" if agreed else "plain text"
    return f"hello {request.path[1:] or 'world'}, by {how}\n"


if __name__ == "__main__":
    _, certificate, key, *bind = sys.argv
    greenhttp.serve(hello, bind=bind or "127.0.0.1:8443", certfile=certificate, keyfile=key)  # and looks for new ones
