"""Real programs behind greenhttp, used by their own clients: WebDAV by litmus, git and Mercurial repositories, S3.

Each is served by one process, and by workers under the supervisor.
"""

import contextlib
import io
import logging
import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import requests

from tests.apps.served import TIMEOUT, Served
from tests.system.process import needs

LARGE = 40_000_000  # bytes of what is pushed
HANGS = 120  # seconds; only a hang takes as long

alone_and_workers = pytest.mark.parametrize("workers", ["0", "2"], ids=["alone", "workers"])
# 40 MB are many reads, wherever they end; what workers add is that others answer the requests before and behind.
large_and_workers = pytest.mark.parametrize(
    ("workers", "size"), [("0", LARGE), ("2", LARGE // 5)], ids=["alone", "workers"]
)


@pytest.fixture(scope="session")
def large():
    """Content that no client makes smaller."""
    return random.Random(17).randbytes(LARGE)


@dataclass
class Client:
    """A program in a directory of its own, away from the settings of whoever runs the tests."""

    directory: os.PathLike
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *command, **environ):
        """What it prints, both streams; it must end well."""
        outside = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
        done = subprocess.run(
            command, cwd=self.directory, env={**outside, "HOME": str(self.directory), **self.environ, **environ},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HANGS, check=False,
        )  # fmt: skip
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, text[-5000:]
        return text


# ---- WebDAV

LITMUS = {"basic": 16, "copymove": 13, "props": 30, "locks": 41, "http": 4}  # 104 in all


def litmus(url, directory):
    """{suite: how many of its tests passed}"""
    text = Client(directory).run("litmus", url)
    assert "FAIL" not in text, text
    return {name: int(passed) for name, passed in re.findall(r"summary for `(\w+)': .*? (\d+) passed, 0 failed", text)}


@needs("litmus")
def test_webdav_passes_all_of_litmus(tmp_path):
    pytest.importorskip("wsgidav")
    (tmp_path / "root").mkdir()
    with Served("webdav_app:app", ROOT=str(tmp_path / "root")) as url:
        assert litmus(f"{url}/", tmp_path) == LITMUS


@needs("litmus")
def test_webdav_passes_all_of_litmus_with_workers_that_share_locks(tmp_path, redis_server):
    pytest.importorskip("wsgidav")
    (tmp_path / "root").mkdir()
    with Served("-w", "2", "webdav_app:app", ROOT=str(tmp_path / "root"), REDIS=str(redis_server.port)) as url:
        assert litmus(f"{url}/", tmp_path) == LITMUS


# ---- git

LATER = 4_000_000_000  # seconds since 1970
PERSON = {f"GIT_{who}_{what}": "anna" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
SETTINGS = {  # what cannot be made smaller, nobody need try to
    "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.compression", "GIT_CONFIG_VALUE_0": "0",
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
}  # fmt: skip


@pytest.fixture
def git(tmp_path):
    (tmp_path / "client").mkdir()
    return Client(tmp_path / "client", {**PERSON, **SETTINGS})


@pytest.fixture
def root(tmp_path, git):
    """A directory with one empty repository, `project`, to which everybody may push."""
    (tmp_path / "served").mkdir()
    bare = str(tmp_path / "served" / "project")
    git.run("git", "init", "--quiet", "--bare", "--initial-branch=main", bare)
    git.run("git", "-C", bare, "config", "http.receivepack", "true")
    git.run("git", "-C", bare, "config", "core.compression", "0")
    return tmp_path / "served"


def commit(git, name, content):
    (git.directory / name / "file").write_bytes(content)
    git.run("git", "-C", name, "add", "file")
    git.run("git", "-C", name, "commit", "--quiet", "-m", "change")


def history(git, name, contents):
    """A repository with a commit for each content of its one file."""
    git.run("git", "init", "--quiet", "--initial-branch=main", name)
    for content in contents:
        commit(git, name, content)


@needs("git")
@large_and_workers
@pytest.mark.parametrize("program", ["dulwich", "http_backend"])
def test_git_pushes_40_mb_and_clones_them(git, root, large, program, workers, size):
    pytest.importorskip("dulwich")
    large, smaller = large[:size], large[:3_000_000]
    history(git, "mine", [large])
    with Served("-w", workers, f"git_app:{program}", ROOT=str(root)) as url:
        push = "push", "--quiet", f"{url}/project", "main"
        git.run("git", "-C", "mine", *push)  # in chunks, as it does with all that is larger than its buffer
        commit(git, "mine", smaller)
        git.run("git", "-C", "mine", "-c", "http.postBuffer=10000000", *push)
        git.run("git", "clone", "--quiet", f"{url}/project", "all")
        git.run("git", "clone", "--quiet", "--depth", "1", f"{url}/project", "shallow")
    assert git.run("git", "-C", "all", "rev-list", "--count", "HEAD") == "2\n"
    assert git.run("git", "-C", "shallow", "rev-list", "--count", "HEAD") == "1\n"
    assert (git.directory / "all" / "file").read_bytes() == smaller
    git.run("git", "-C", "all", "checkout", "--quiet", "main~1")
    assert (git.directory / "all" / "file").read_bytes() == large


@needs("git")
@alone_and_workers
@pytest.mark.parametrize("program", ["dulwich", "http_backend"])
def test_git_compresses_what_it_asks_for_when_that_is_long(git, root, program, workers):
    pytest.importorskip("dulwich")
    history(git, "mine", [b"begin\n"])
    with Served("-w", workers, f"git_app:{program}", ROOT=str(root)) as url:
        git.run("git", "-C", "mine", "push", "--quiet", f"{url}/project", "main")
        git.run("git", "clone", "--quiet", f"{url}/project", "other")
        # Commits that the other side does not know, later than those that it does: so git names these first.
        tips = "".join(
            f"commit refs/heads/tip{number}\ncommitter anna <anna> {LATER} +0000\ndata {len(str(number))}\n{number}\n"
            for number in range(100)
        )
        (git.directory / "tips").write_text(tips)
        git.run("sh", "-c", "git -C other fast-import --quiet <tips")
        commit(git, "mine", b"more\n")
        git.run("git", "-C", "mine", "push", "--quiet", f"{url}/project", "main")
        # Only in the first version of its protocol.
        fetch = "fetch", "--quiet", "origin"
        said = git.run("git", "-C", "other", "-c", "protocol.version=0", *fetch, GIT_TRACE_CURL="1")
    assert "Content-Encoding: gzip" in said
    assert git.run("git", "-C", "other", "rev-list", "--count", "origin/main") == "2\n"


# ---- Mercurial


HGRC = """
[ui]
username = anna
[format]
revlog-compression = none
[server]
compressionengines = none
[web]
push_ssl = false
allow_push = *
"""


@large_and_workers
def test_mercurial_pushes_40_mb_and_clones_them(tmp_path, large, workers, size):
    pytest.importorskip("mercurial")
    large = large[:size]
    (tmp_path / "hgrc").write_text(HGRC)
    environ = {"HGRCPATH": str(tmp_path / "hgrc"), "HGPLAIN": "1"}
    client = Client(tmp_path, environ)

    def hg(*arguments):
        return client.run(sys.executable, "-m", "mercurial", *arguments)

    def commit(name, content):
        (tmp_path / name / "file").write_bytes(content)
        hg("--cwd", name, "commit", "--quiet", "--addremove", "-m", "change")

    hg("init", "served")
    hg("init", "mine")
    commit("mine", large)
    with Served("-w", workers, "hg_app:app", REPOSITORY=str(tmp_path / "served"), **environ) as url:
        hg("--cwd", "mine", "push", "--quiet", url)
        hg("clone", "--quiet", url, "other")
        assert (tmp_path / "other" / "file").read_bytes() == large
        commit("other", b"later\n")
        hg("--cwd", "other", "push", "--quiet", url)
        hg("--cwd", "mine", "pull", "--quiet", "--update", url)
    assert (tmp_path / "mine" / "file").read_bytes() == b"later\n"


# ---- S3

PART = 5 * 1024 * 1024  # the smallest that S3 takes


@pytest.fixture(params=["0", "1"], ids=["alone", "worker"])  # what moto keeps is in the memory of one process
def s3(request):
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto")
    with Served("-w", request.param, "s3_app:app") as url:
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        client.create_bucket(Bucket="bucket")
        with contextlib.closing(client):
            yield client


@pytest.mark.filterwarnings("ignore:Boto3 will no longer support")
def test_boto3_uploads_in_parts_and_waits_to_be_told_to_continue(s3, large, caplog):
    from boto3.s3.transfer import TransferConfig

    parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
    caplog.set_level(logging.DEBUG, "botocore.awsrequest")
    s3.upload_fileobj(io.BytesIO(large), "bucket", "large", Config=parts)
    told = [record.getMessage() for record in caplog.records if record.name == "botocore.awsrequest"]
    count = -(-LARGE // PART)
    # Of a server that does not answer to Expect it says that it goes on without.
    assert sorted(told) == ["100 Continue response seen, now sending request body."] * count + [
        "Waiting for 100 Continue response."
    ] * count
    assert s3.head_object(Bucket="bucket", Key="large")["ETag"].endswith(f'-{count}"')
    assert s3.get_object(Bucket="bucket", Key="large", Range="bytes=1000-1999")["Body"].read() == large[1000:2000]
    got = io.BytesIO()
    s3.download_fileobj("bucket", "large", got, Config=parts)
    assert got.getvalue() == large


@pytest.mark.filterwarnings("ignore:Boto3 will no longer support")
def test_boto3_signs_addresses_that_others_use(s3, large):
    def address(operation):
        return s3.generate_presigned_url(operation, Params={"Bucket": "bucket", "Key": "given"})

    data = large[:3_000_000]
    assert requests.put(address("put_object"), data=iter([data[:7], data[7:]]), timeout=TIMEOUT).status_code == 200
    assert requests.get(address("get_object"), timeout=TIMEOUT).content == data
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.put_object(Bucket="nowhere", Key="large", Body=large)


# ---- Bottle


@pytest.fixture(scope="module")
def bottle():
    pytest.importorskip("bottle")
    # It reads as much as Content-Length says, which is nothing if there is none.
    with Served("--gather-chunked", "10m", "bottle_app:app") as url:
        yield urlsplit(url).netloc


@pytest.mark.parametrize("size", [0, 1, 50_000, 2_000_000])  # from 100 KiB on Bottle keeps content in a file
def test_bottle_reads_chunked_content(bottle, size):
    data = random.Random(size).randbytes(size)
    pieces = [data[at : at + 10_000] for at in range(0, size, 10_000)]
    with contextlib.closing(HTTPConnection(bottle, timeout=TIMEOUT)) as connection:
        for _ in range(2):  # on one connection: the first is read to its end, and not beyond
            connection.request("POST", "/echo", iter(pieces), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
            answer = connection.getresponse()
            assert (answer.status, answer.read() == data) == (200, True)
        connection.request("POST", "/json", iter([b'{"a": ', b"1}"]), {"Content-Type": "application/json"})
        assert connection.getresponse().read() == b'{"got": {"a": 1}}'
