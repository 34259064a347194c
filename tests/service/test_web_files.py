"""The console's files: given out by name, with their types, and nothing else of the machine."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from offhook.service.web_files import WebFiles


@pytest.fixture
def pages(tmp_path: Path) -> WebFiles:
    folder = tmp_path / "web"
    (folder / "phone").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Offhook</title>")
    (folder / "app.js").write_text("export {}")
    (folder / "phone" / "dock.js").write_text("export const dock = 1")
    (folder / "style.css").write_text("body {}")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "notes.txt").write_text("not for browsers")
    (tmp_path / "secret.js").write_text("outside")
    return WebFiles(folder)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("", "text/html; charset=utf-8"),
        ("index.html", "text/html; charset=utf-8"),
        ("calls", "text/html; charset=utf-8"),
        ("calls/abc-1", "text/html; charset=utf-8"),
        ("phone", "text/html; charset=utf-8"),
        ("setup", "text/html; charset=utf-8"),
        ("login", "text/html; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("phone/dock.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_files_and_views(pages: WebFiles, name: str, content_type: str) -> None:
    found = pages.answer(name)
    assert found is not None and found.headers["Content-Type"] == content_type
    assert found.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "../secret.js", "phone/../../secret.js", "/etc/passwd", "phone//", "calls/a/b", "none.js", "\0", "."],
)
def test_nothing_else(pages: WebFiles, name: str) -> None:
    assert pages.answer(name) is None


def test_what_has_not_changed_is_not_sent_again(pages: WebFiles) -> None:
    first = pages.answer("app.js")
    assert first is not None and first.status == 200
    again = pages.answer("app.js", f'"other", W/{first.headers["ETag"]}')
    assert again is not None and again.status == 304 and not again.body
    other = pages.answer("app.js", '"other"')
    assert other is not None and other.status == 200


def test_a_package_without_pages_answers_nothing(tmp_path: Path) -> None:
    assert WebFiles(tmp_path / "none").answer("") is None


WAYS_IN = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\(|new Function|DOMParser|trustedTypes"
PAGES = Path(str(files("offhook") / "web"))


@pytest.mark.parametrize("path", sorted(PAGES.rglob("*.js")), ids=lambda path: path.name)
def test_scripts_are_short_and_make_no_page_of_a_text(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 600, "split it by what it owns"
    assert not re.findall(WAYS_IN, text), "texts reach the page by textContent and attributes"
    code = re.sub(r"`[^`]*`", "", text)
    imported = re.findall(r"(?m)^(?:import|export)\b[^;]*?\bfrom \"([^\"]*)\"|import\(\"([^\"]*)\"\)", code)
    assert all((one or other).startswith(".") for one, other in imported), "only files of ours"


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    page = (PAGES / "index.html").read_text()
    assert not re.findall(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    places = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert places and all(place.startswith(("/console/", "#")) for place in places)
    for path in PAGES.rglob("*.css"):
        assert not re.findall(r"@import|url\(\s*[\"']?(?:https?:)?//", path.read_text()), path
