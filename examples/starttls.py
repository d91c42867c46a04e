"""A connection that begins in plain text and goes on encrypted: STARTTLS, as mail servers have it (RFC 3207).

    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \\
        -out cert.pem -keyout key.pem
    python starttls.py cert.pem key.pem [ADDRESS]                the server
    python starttls.py --say 'good morning' cert.pem [ADDRESS]   the client, which trusts that certificate

    openssl s_client -quiet -starttls smtp -connect 127.0.0.1:8025          then type: SAY hello
"""

import greenhttp.patch  # first

import sys

from greenhttp import tls

ADDRESS = "127.0.0.1:8025"


def server(context):
    def talk(stream):
        stream.timeout = 60
        stream.write(b"220 here\r\n")
        for line in stream:
            command, _, words = line.strip().partition(b" ")
            command, encrypted = command.upper(), stream.tls is not None
            if command == b"QUIT":
                stream.write(b"221 bye\r\n")
                return
            if command == b"EHLO":
                stream.write(b"250 here\r\n" if encrypted else b"250-here\r\n250 STARTTLS\r\n")
            elif command == b"STARTTLS" and not encrypted:
                stream.write(b"220 go ahead\r\n")
                stream.start_tls(context)  # waits for the handshake
            elif command != b"SAY":
                stream.write(b"500 unknown command\r\n")
            elif encrypted:
                stream.write(b"250 " + words.upper() + b"\r\n")
            else:
                stream.write(b"530 STARTTLS first\r\n")  # nothing that matters is taken in plain text

    return talk


def say(words, context, address):
    with greenhttp.connect(address, timeout=10) as stream:
        reply(stream)
        if b"STARTTLS" not in ask(stream, b"EHLO me"):  # then somebody between may have removed the offer
            sys.exit("no encryption, so nothing was said: the server does not offer it")
        ask(stream, b"STARTTLS")
        try:
            stream.start_tls(context, server_name="localhost")
        except ConnectionError as error:
            sys.exit(f"no encryption, so nothing was said: {error}")
        print(ask(stream, b"SAY " + words.encode()).decode())
        ask(stream, b"QUIT")


def ask(stream, command):
    stream.write(command + b"\r\n")
    return reply(stream)


def reply(stream):
    """The text of a reply, whose lines begin with its number, all but the last with `-` behind it."""
    texts = []
    more = True
    while more:
        line = stream.readline().rstrip()
        if not line.startswith(b"2"):
            sys.exit(f"the server said: {line.decode(errors='replace')}")
        texts.append(line[4:])
        more = line[3:4] == b"-"
    return b"\n".join(texts)


if __name__ == "__main__":
    if sys.argv[1] == "--say":
        _, _, words, certificate, *address = sys.argv
        say(words, tls.client(certificate), *address or [ADDRESS])
    else:
        _, certificate, key, *bind = sys.argv
        greenhttp.serve_stream(server(tls.server(certificate, key)), bind=bind or ADDRESS)
