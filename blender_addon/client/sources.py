"""Where wheels come from: folders, and the package indexes that this computer's pip is set up to use.

Standard library only. pip itself is asked for its index, proxy and certificate, so that a company's mirror works here
as it does there; the pages are PEP 503 (HTML) or PEP 691 (JSON).
"""

import ast
import base64
import functools
import html.parser
import http.client
import json
import re
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from . import platforms
from .platforms import Target, normal, rank, split
from .problems import EnvironmentProblem

TIMEOUT = 30.0  # seconds without a byte; pip's own setting counts where it is longer
TRIES = 3  # for a page
JSON_PAGE = "application/vnd.pypi.simple.v1+json"
AGENT = "momug-installer"


@dataclass(frozen=True)
class Found:
    """A wheel that can be had: a ``path`` on this computer, or a ``url``. Size and SHA-256 where the place tells."""

    filename: str
    url: str = ""
    path: Path | None = None
    size: int = 0
    sha256: str = ""


@dataclass
class Settings:
    """What pip is set up with. ``indexes``: the usual one first; ``folders``: of wheels, asked before any index."""

    indexes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    proxy: str = ""
    certificate: str = ""
    timeout: float = TIMEOUT


def pip_settings(python: Path, env: dict[str, str], options: dict | None = None) -> Settings:
    """The settings of ``python``'s pip, its default index included. Raises EnvironmentProblem when pip does not run."""

    def ask(*words: str) -> str:
        command = [str(python), "-m", "pip", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", errors="replace", env=env, **(options or {})
        )
        if done.returncode != 0:
            raise EnvironmentProblem("pip does not run in the new environment.", done.stderr.strip()[-300:], "no_pip")
        return done.stdout

    values: dict[str, str] = {}
    for scope in ("global", "install", ":env:"):  # pip's own order: the later one wins
        for line in ask("config", "list").splitlines():
            name, equals, value = line.partition("=")
            if equals and name.startswith(f"{scope}."):
                values[name[len(scope) + 1 :]] = str(ast.literal_eval(value))
    default = re.search(r"Package Index\s+\(default\s+(\S+?)\)", ask("install", "--help"))
    indexes = [values.get("index-url") or (default[1] if default else "")]
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = []
    else:
        indexes += values.get("extra-index-url", "").split()
    indexes = sorted(filter(None, indexes), key=lambda url: not url.startswith("file:"))  # what is at hand first
    folders = [_local(place) for place in values.get("find-links", "").split()]
    timeout = values.get("default-timeout") or values.get("timeout") or ""
    return Settings(
        indexes,
        [folder for folder in folders if folder],
        values.get("proxy", ""),
        values.get("cert", ""),
        max(TIMEOUT, float(timeout) if timeout.replace(".", "", 1).isdigit() else 0.0),
    )


def _local(place: str) -> Path | None:
    if place.startswith("file:"):
        place = urllib.request.url2pathname(urllib.parse.urlsplit(place).path)
    folder = Path(place).expanduser()
    return folder if folder.is_dir() else None


def opener(settings: Settings) -> urllib.request.OpenerDirector:
    """What opens URLs, with the proxy and the certificates that pip would use."""
    context = ssl.create_default_context()
    if settings.certificate:
        try:
            context.load_verify_locations(settings.certificate)
        except OSError as error:
            raise EnvironmentProblem(
                f"The certificate file {settings.certificate} cannot be read.", "Correct pip's setting 'cert'.", "ssl"
            ) from error
    if not context.cert_store_stats()["x509_ca"]:  # Python from python.org on macOS starts without any
        try:
            from pip._vendor import certifi

            context.load_verify_locations(certifi.where())
        except ImportError:
            context.load_default_certs()
    proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else None
    handlers = [urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)]
    return urllib.request.build_opener(*handlers)


def request(url: str, **headers: str) -> urllib.request.Request:
    """A request for ``url``; a name and password in it (private indexes) become a header."""
    parts = urllib.parse.urlsplit(url)
    headers = {"User-Agent": AGENT, **headers}
    if parts.username is not None:
        word = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(word.encode()).decode()
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urllib.request.Request(urllib.parse.urlunsplit(parts), headers=headers)


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.links.append(href)


class Sources:
    """Finds wheels in ``folders`` first, then in ``indexes``. Pages are read once."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.opener = opener(settings)
        self.page = functools.lru_cache(maxsize=None)(self._page)

    def find(self, name: str, version: str, target: Target, index: str = "") -> Found | None:
        """The wheel of exactly that version that suits ``target`` best, or None.

        ``index`` is asked instead of the usual ones. Raises urllib.error.URLError or OSError when an index does not
        answer.
        """
        for folder in self.settings.folders:
            if found := best(in_folder(folder), name, version, target):
                return found
        for url in [index] if index else self.settings.indexes:
            if found := best(self.page(url, normal(name)), name, version, target):
                return found
        return None

    def names(self) -> list[str]:
        """Where was looked, without the passwords of private indexes."""
        indexes = [re.sub(r"//[^/@]*@", "//", url) for url in self.settings.indexes]
        return [*map(str, self.settings.folders), *indexes]

    def size(self, wheel: Found) -> int:
        """Bytes of a wheel; asks its server when its page did not tell, 0 when that does not tell either."""
        if wheel.size or not wheel.url:
            return wheel.size
        ask = request(wheel.url)
        ask.method = "HEAD"
        with self.opener.open(ask, timeout=self.settings.timeout) as answer:
            return int(answer.headers.get("Content-Length") or 0)

    def _page(self, index: str, name: str) -> tuple[Found, ...]:
        url = f"{index.rstrip('/')}/{name}/"
        if url.startswith("file:"):
            file = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path), "index.html")
            return _from_html(file.read_text(encoding="utf-8"), url) if file.is_file() else ()
        for attempt in range(1, TRIES + 1):
            try:
                text, kind, url = self._read(url)
                break
            except urllib.error.HTTPError as error:
                if error.code == 404:  # this index does not have it
                    return ()
                if error.code < 500 or attempt == TRIES:
                    raise
            except (OSError, http.client.HTTPException):
                if attempt == TRIES:
                    raise
        return _from_json(text, url) if kind == JSON_PAGE else _from_html(text, url)

    def _read(self, url: str) -> tuple[str, str, str]:
        """Text, kind and last address of a page."""
        asked = request(url, Accept=f"{JSON_PAGE}, text/html;q=0.1")
        with self.opener.open(asked, timeout=self.settings.timeout) as page:
            return page.read().decode("utf-8"), page.headers.get_content_type(), page.url


def in_folder(folder: Path) -> tuple[Found, ...]:
    """All wheels that lie in a folder."""
    return tuple(Found(file.name, path=file, size=file.stat().st_size) for file in sorted(folder.glob("*.whl")))


def made_for(folder: Path) -> list[Target]:
    """The computers that the compiled wheels in a folder are for."""
    found = {platforms.made_for(wheel.filename) for wheel in in_folder(folder)} - {None}
    return sorted(found, key=lambda target: target.label)


def best(wheels: "tuple[Found, ...] | list[Found]", name: str, version: str, target: Target) -> Found | None:
    """The wheel of exactly that version that suits best. "2.0" also takes "2.0+cpu", "2.0+cpu" only itself."""
    fitting = []
    for wheel in wheels:
        known = split(wheel.filename)
        if known is None or known[0] != normal(name) or version not in (known[1], known[1].partition("+")[0]):
            continue
        suits = rank(wheel.filename, target)
        if suits is not None:
            fitting.append((suits, wheel.filename, wheel))
    return min(fitting, key=lambda one: one[:2])[2] if fitting else None


def _from_json(text: str, url: str) -> tuple[Found, ...]:
    return tuple(
        Found(
            entry["filename"],
            urllib.parse.urljoin(url, entry["url"]),
            size=entry.get("size") or 0,
            sha256=entry.get("hashes", {}).get("sha256", ""),
        )
        for entry in json.loads(text).get("files", [])
    )


def _from_html(text: str, url: str) -> tuple[Found, ...]:
    reader = _Links()
    reader.feed(text)
    found = []
    for link in reader.links:
        full, fragment = urllib.parse.urldefrag(urllib.parse.urljoin(url, link))
        filename = urllib.parse.unquote(full.rpartition("/")[2])
        digest = re.match(r"sha256=([0-9a-f]{64})", fragment)
        path = None
        if full.startswith("file:"):
            path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(full).path))
        found.append(Found(filename, full, path, sha256=digest[1] if digest else ""))
    return tuple(found)
