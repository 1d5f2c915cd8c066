"""Every cause has a sentence and a way out, from words that pip, the system and our own downloads really say."""

import re
import ssl
import urllib.error

import pytest

from blender_addon.client import problems
from blender_addon.client.problems import CAUSES, NotOffered, cause_of, explain, from_error

SAID = [
    ("no_network", "NewConnectionError('<...>: Failed to establish a connection: [Errno -2] Name or service not known"),
    ("no_network", "WARNING: Retrying after connection broken by 'ConnectTimeoutError'"),
    ("no_network", "URLError: <urlopen error [WinError 10060] A connection attempt failed>"),
    ("no_network", "[Errno 8] nodename nor servname provided, or not known"),
    ("ssl", "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer"),
    ("ssl", "URLError: <urlopen error [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1002)>"),
    ("proxy", "ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407 Proxy Authentication"),
    ("disk_full", "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"),
    ("disk_full", "OSError: [WinError 112] There is not enough space on the disk"),
    ("permission", "ERROR: Could not install: [Errno 13] Permission denied: '/opt/x'"),
    ("permission", "PermissionError: [WinError 5] Access is denied: 'C:\\\\x'"),
    ("locked", "PermissionError: [WinError 32] The process cannot access the file because it is being used by another"),
    ("virus_scanner", "OSError: [WinError 225] Operation did not complete because the file contains a virus"),
    ("path_too_long", "OSError: [WinError 206] The filename or extension is too long"),
    ("vc_redist", 'OSError: [WinError 126] The module could not be found. Error loading "C:\\torch\\c10.dll"'),
    ("vc_redist", "ImportError: DLL load failed while importing _C: The specified module could not be found."),
    ("system_library", "ImportError: libXi.so.6: cannot open shared object file: No such file or directory"),
    ("not_offered", "ERROR: No matching distribution found for bpy==5.2.3 (from versions: 4.2.0)"),
    ("server", "HTTPError: HTTP Error 403: Forbidden"),
    ("no_memory", "OSError: [Errno 12] Cannot allocate memory"),
    ("no_venv", "The virtual environment was not created successfully because ensurepip is not available."),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text"), SAID)
def test_words_lead_to_their_cause(code, text):
    problem = explain(text, "backend environment", "/cache/momug", "/cache/setup.log")
    assert problem.code == code
    assert problem.message.endswith(".") and "\n" not in problem.message
    assert len(problem.hint) > 20, "no way out"
    assert "{" not in problem.message + problem.hint, "a word was not filled in"


def test_every_cause_is_tried_above():
    assert {cause.code for cause in CAUSES} == {code for code, _ in SAID}


def test_names_are_told():
    assert "libXi.so.6" in explain(SAID[16][1], "x", "f", "l").message
    refused = explain("ERROR: No matching distribution found for bpy==5.2.3 (from", "x", "f", "l")
    assert refused.message.startswith("bpy==5.2.3 is not offered") and isinstance(refused, NotOffered)
    assert "(HTTP 403)" in explain("HTTP Error 403: Forbidden", "x", "f", "l").message
    assert "/cache/momug" in explain("[Errno 28] No space left on device", "x", "/cache/momug", "l").hint


def test_the_first_cause_wins_over_what_follows_from_it():
    text = "NewConnectionError: ...\nERROR: No matching distribution found for torch==2.13.0"
    assert cause_of(text)[0].code == "no_network"


def test_unknown_words_name_the_log():
    problem = explain("something new", "backend", "f", "/x/setup.log")
    assert problem.code == "failed" and "/x/setup.log" in problem.hint


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(28, "No space left on device"), "disk_full"),
        (PermissionError(13, "Permission denied"), "permission"),
        (urllib.error.URLError(OSError(-2, "Name or service not known")), "no_network"),
        (urllib.error.URLError(ssl.SSLCertVerificationError(1, "certificate verify failed")), "ssl"),
        (TimeoutError("timed out"), "no_network"),
        (urllib.error.HTTPError("http://x", 502, "Bad Gateway", {}, None), "server"),
        (problems.EnvironmentProblem("Told already.", code="own"), "own"),
    ],
)
def test_errors_lead_to_their_cause(error, code):
    assert from_error(error, "backend", "/cache", "/log").code == code


def test_every_cause_stands_in_the_page_about_troubles(root):
    page = (root / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    headings = [heading.rstrip(". …") for heading in re.findall(r"^### (.+)$", page, re.MULTILINE)]
    lacking = [text for text in (re.sub(r"\{\w+\}", "…", cause.message) for cause in CAUSES)
               if not text.startswith(tuple(headings))]  # fmt: skip
    assert not lacking
