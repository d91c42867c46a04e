"""The lists in docs/settings.md and docs/reference.md are those of the code."""

import importlib.util
import subprocess
import sys

import pytest

import greenhttp
from greenhttp.settings.table import SETTINGS
from tests.docs.session import ROOT

SPEC = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
generated = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generated)


@pytest.mark.parametrize("page", generated.PAGES)
def test_the_list_is_that_of_the_code(page):
    same = (ROOT / "docs" / f"{page}.md").read_text() == generated.filled(page)
    assert same, f"the list in docs/{page}.md is out of date; run {generated.COMMAND}"


def test_every_setting_and_every_public_name_is_listed():
    for page, names in (
        ("settings", [setting.name for setting in SETTINGS]),
        ("reference", [name for name in greenhttp.__all__ if name != "__version__"]),
    ):
        marks = {"settings": "### ", "reference": "## "}[page]
        lines = (ROOT / "docs" / f"{page}.md").read_text().splitlines()
        assert [line.removeprefix(marks) for line in lines if line.removeprefix(marks) in names] == names


def test_the_command_names_a_stale_page_and_writes_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    for page in generated.PAGES:
        (tmp_path / "docs" / f"{page}.md").write_text(
            f"# Page\n\n{generated.BEGIN.format(page=page)}\nold\n{generated.END}\n\nThe rest.\n"
        )
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.setattr(generated, "PAGES", {page: lambda: "new" for page in generated.PAGES})
    assert generated.main(["--check"]) == 1
    assert f"docs/settings.md: its list is not that of the code; run {generated.COMMAND}" in capsys.readouterr().out
    assert generated.main([]) == 0
    text = (tmp_path / "docs" / "settings.md").read_text()
    assert text.startswith("# Page\n") and "\nnew\n" in text and "old" not in text and text.endswith("The rest.\n")
    assert generated.main(["--check"]) == 0


def test_a_page_without_the_markers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "settings.md").write_text("# Settings\n")
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="docs/settings.md: the lines"):
        generated.filled("settings")


def test_the_command_as_it_is_documented():
    command = [sys.executable, "docs/generated.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
