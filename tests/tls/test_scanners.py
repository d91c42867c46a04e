"""sslscan, and the quick ones of testssl.sh's questions: nothing weak by default. `make testssl` asks them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.process import needs
from tests.tls import scanners
from tests.tls.process import Files, Served

BROKEN = "NULL", "EXP", "ADH", "AECDH", "RC4", "DES", "MD5", "CBC", "PSK", "SRP", "CAMELLIA", "ARIA", "SEED", "IDEA"


@pytest.fixture(scope="module", params=["p256", "rsa"])
def scanned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Files, Served]]:
    files = Files(tmp_path_factory.mktemp("scanned"), request.param)
    with Served(files) as served:
        yield files, served
    assert "Traceback" not in "".join(served.said)
    assert len(served.said) < 100


@needs("sslscan")
def test_sslscan(scanned: tuple[Files, Served]) -> None:
    report = scanners.sslscan(*scanned)
    enabled = {(it.get("type"), it.get("version")) for it in report.iter("protocol") if it.get("enabled") == "1"}
    assert enabled == {("tls", "1.2"), ("tls", "1.3")}
    assert [it.get("supported") for it in report.iter("renegotiation")] == ["0"]
    assert {it.get("vulnerable") for it in report.iter("heartbleed")} == {"0"}
    assert {it.get("supported") for it in report.iter("compression")} <= {"0"}
    ciphers = [(it.get("cipher"), it.get("sslversion"), int(it.get("bits"))) for it in report.iter("cipher")]
    assert {version for _, version, _ in ciphers} == {"TLSv1.2", "TLSv1.3"}
    for name, version, bits in ciphers:
        assert bits >= 128 and not any(word in name for word in BROKEN), name
        assert name.endswith(("GCM-SHA256", "GCM-SHA384", "GCM_SHA256", "GCM_SHA384", "POLY1305", "POLY1305_SHA256"))
        assert version == "TLSv1.3" or name.startswith(("ECDHE-", "DHE-")), name  # no key exchange by RSA alone


@needs("testssl")
@pytest.mark.parametrize("scanned", ["rsa"], indirect=True)  # which has every weakness of the other, and ROBOT's
def test_testssl(scanned: tuple[Files, Served]) -> None:
    findings = scanners.testssl(*scanned, "--ccs", "--ticketbleed", "--compression", "--robot", timeout=120)
    assert {it["id"]: it["severity"] for it in findings}.items() >= {
        ("CCS", "OK"), ("ticketbleed", "OK"), ("CRIME_TLS", "OK"), ("ROBOT", "OK")
    }  # fmt: skip
    assert scanners.weak(findings) == []
