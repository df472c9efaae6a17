"""The page's files: what is answered for them, and that they keep to the policy."""

import re
from pathlib import Path

import pytest

from orchestrator import console

STATIC = Path(console.__file__).parent / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def _headers(path: str, known: str = "") -> tuple[int, dict[str, str], bytes]:
    found = console.page(path, known)
    assert found is not None
    status, headers, body = found
    return status, {name.decode(): value.decode() for name, value in headers}, body


def test_the_page_is_answered_with_its_policy() -> None:
    status, headers, body = _headers("/console")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_served_with_its_type(path: Path) -> None:
    name = path.relative_to(STATIC).as_posix()
    status, headers, body = _headers(f"/console/{name}")
    assert (status, body) == (200, path.read_bytes())
    kinds = {
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg",
        ".html": "text/html",
    }
    assert headers["content-type"].startswith(kinds[path.suffix])


def test_a_file_that_is_known_is_not_sent_again() -> None:
    _, headers, _ = _headers("/console/app.js")
    for known in (headers["etag"], f'"other", W/{headers["etag"]}'):
        status, again, body = _headers("/console/app.js", known)
        assert (status, body) == (304, b"")
        assert again["etag"] == headers["etag"]
    assert _headers("/console/app.js", '"other"')[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing.js",
        "/console/../__init__.py",
        "/console/views",
        "/console/views/",
        "/console//app.js",
        "/console/%2e%2e/__init__.py",
        "/console/app.js/",
    ],
)
def test_what_is_no_file_of_it_is_not_found(path: str) -> None:
    assert console.page(path) is None


def test_the_folder_leads_to_the_page() -> None:
    status, headers, _ = _headers("/console/")
    assert (status, headers["location"]) == (308, "../console")


def test_nothing_is_fetched_from_elsewhere_and_nothing_is_inline() -> None:
    for path in FILES:
        text = path.read_text()
        found = re.findall(r"https?://[^\s\"'`)<]+", text)
        assert set(found) <= {"http://www.w3.org/2000/svg"}, path
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page)
    for path in SCRIPTS:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(", path.read_text()
        ), path


def test_every_module_that_is_imported_is_there() -> None:
    for path in SCRIPTS:
        for name in re.findall(r"from \"(\.[^\"]+)\"", path.read_text()):
            assert (path.parent / name).resolve() in FILES, f"{path.name}: {name}"
    page = (STATIC / "index.html").read_text()
    for name in re.findall(r"(?:href|src)=\"console/([^\"]+)\"", page):
        assert STATIC / name in FILES


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_modules_stay_readable(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < 400
    assert max(map(len, lines)) <= 130
    assert lines[0].startswith("/* "), "a module says what it is for"
