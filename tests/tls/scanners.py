"""What testssl.sh and sslscan find about a TLS process of greenhttp: `make testssl` is all that testssl.sh can ask.

    python -m tests.tls.scanners [--key p256|rsa] [option of testssl.sh ...]

Ends with 0 when nothing weak is found; the table has what is not plainly good.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from tests.tls.process import DEFAULT, Files, Served

HARMLESS = {"OK", "INFO"}
# What testssl.sh marks down that says nothing about the server: rows by name -> why.
OUTSIDE = {
    "engine_problem": "about the OpenSSL that asks",
    "HSTS": "a field that the application sends",
    "security_headers": "fields that the application sends",
    "cert_caIssuers": "the tests' own authority",
    "cert_revocation": "the tests' own authority publishes none",
    "cert_crlDistributionPoints": "the tests' own authority publishes none",
    "cert_ocspURL": "the tests' own authority publishes none",
    "DNS_CAArecord": "a name without DNS",
    "OCSP_stapling": "nothing to staple: see above",
    "cert_chain_of_trust": "the tests' own authority",
    # It hangs up as soon as the handshake is over, and has the ticket by then or not: 16 of 20 times here, 17 of 20
    # with nginx. test_clients.py resumes.
    "sessionresumption_ticket": "a race of its own",
    "cert_validityPeriod": "a certificate made today",
}


def sslscan(files: Files, served: Served) -> ET.Element:
    """Its report."""
    report = files.where / "sslscan.xml"
    subprocess.run(
        ["sslscan", "--no-colour", f"--xml={report}", f"--sni-name={DEFAULT}", f"127.0.0.1:{served.port}"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    return ET.parse(report).getroot()[0]


def testssl(files: Files, served: Served, *options: str, timeout: float = 1800) -> list[dict[str, str]]:
    """Its findings: id, severity, finding; without options all it can ask."""
    report = files.where / "testssl.json"
    report.unlink(missing_ok=True)
    subprocess.run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1",
         "--add-ca", files.authority, "--jsonfile", report, *options, f"{DEFAULT}:{served.port}"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False,  # its status counts findings
    )  # fmt: skip
    return json.loads(report.read_text())


def weak(findings: list[dict[str, str]]) -> list[str]:
    """What is bad, a line each."""
    return [
        f"{it['severity']} {it['id']}: {it['finding']}"
        for it in findings
        if it["severity"] not in HARMLESS and it["id"].split(" ")[0] not in OUTSIDE
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tls.scanners", description=__doc__)
    parser.add_argument("--key", choices=["p256", "rsa"], default="p256", help="of the certificate [%(default)s]")
    given, options = parser.parse_known_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as where:
        files = Files(Path(where), given.key)
        with Served(files) as served:
            findings = testssl(files, served, *options)
        said = "".join(served.said)
    for it in findings:
        if it["severity"] != "INFO":
            print(f"{it['severity']:8} {it['id']:32} {it['finding'][:80]}")
    counts = Counter(it["severity"] for it in findings)
    print(", ".join(f"{count} {severity}" for severity, count in counts.most_common()), end="; ")
    print(f"{time.monotonic() - began:.0f} s; {len(said.splitlines())} lines in the server's log")
    bad = weak(findings)
    print("weak:", *(bad or ["nothing"]), sep="\n  ")
    if "Traceback" in said:
        print(said[-3000:])
        return 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
