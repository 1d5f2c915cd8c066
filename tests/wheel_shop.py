"""A package index on this computer, with tiny wheels of our own; it can be slow, cut lines and serve damaged files."""

import hashlib
import json
import re
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# pure Python stand-ins for what the check of a backend environment imports
PACKAGES = ("torch", "transformers", "peft", "safetensors", "gguf", "scipy")
TORCH = "class _Tensor(list):\n    sum = lambda self: self\nones = lambda count: _Tensor([1.0] * count)\n"


def write_wheel(folder: Path, name: str, version: str = "1.0", code: str = "", ballast: int = 0) -> Path:
    """A wheel with one module; ``ballast`` bytes make it large."""
    folder.mkdir(parents=True, exist_ok=True)
    info, file = f"{name}-{version}.dist-info", folder / f"{name}-{version}-py3-none-any.whl"
    module = code or f"VERSION = {version!r}\n"
    digest = hashlib.sha256(module.encode()).digest()
    import base64

    recorded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}.py", module)
        if ballast:
            wheel.writestr(f"{name}_data.bin", bytes(ballast))
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        lines = f"{name}.py,sha256={recorded},{len(module)}\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        wheel.writestr(f"{info}/RECORD", lines + (f"{name}_data.bin,,\n" if ballast else ""))
    return file


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Shop:
    """``url`` is the index. ``asked`` lists (path, Range header) of every request for a file. Faults, by file name:
    ``cut``: close the line after so many bytes, once; ``damaged``: flip a byte, so many times; ``status``: answer with
    that error; ``closed``: answer everything with that error; ``ranges``: whether Range is honoured; ``pause``: seconds
    between two blocks of a file."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        self.cut: dict[str, int] = {}
        self.damaged: dict[str, int] = {}
        self.status: dict[str, int] = {}
        self.closed = 0
        self.ranges, self.pause, self.block, self.as_json = True, 0.0, 1 << 16, True
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_words):
                pass

            def do_HEAD(self):
                shop.answer(self, False)

            def do_GET(self):
                shop.answer(self, True)

            def do_CONNECT(self):  # whoever takes it for a proxy
                shop.answer(self, False)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.over = threading.Event()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def link(self, file: Path) -> str:
        return f"{self.url.removesuffix('/simple')}/files/{file.name}"

    def answer(self, handler: BaseHTTPRequestHandler, body: bool) -> None:
        parts = handler.path.strip("/").split("/")
        if self.closed:
            handler.send_error(self.closed)
        elif parts[0] == "simple":
            self._page(handler, parts[1])
        else:
            self._file(handler, parts[-1], body)

    def _page(self, handler, project: str) -> None:
        files = [f for f in sorted(self.folder.glob("*.whl")) if f.name.split("-")[0].replace("_", "-") == project]
        if not files:
            handler.send_error(404)
            return
        if self.as_json:
            entries = [
                {"filename": f.name, "url": self.link(f), "size": f.stat().st_size, "hashes": {"sha256": sha256(f)}}
                for f in files
            ]
            kind, text = "application/vnd.pypi.simple.v1+json", json.dumps({"files": entries})
        else:
            kind = "text/html"
            text = "".join(f'<a href="../../files/{f.name}#sha256={sha256(f)}">{f.name}</a>' for f in files)
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text.encode())

    def _file(self, handler, name: str, body: bool) -> None:
        asked = handler.headers.get("Range", "")
        if body:
            self.asked.append((name, asked))
        if name in self.status:
            handler.send_error(self.status[name])
            return
        data = bytearray((self.folder / name).read_bytes())
        total, start = len(data), 0
        if self.damaged.get(name, 0) > 0 and body:
            self.damaged[name] -= 1
            data[total // 2] ^= 0xFF
        found = re.fullmatch(r"bytes=(\d+)-", asked)
        if found and self.ranges:
            start = int(found[1])
            if start >= total:
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{total}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(total - start))
        handler.end_headers()
        if body:
            self._send(handler, data[start:], self.cut.pop(name, None))

    def _send(self, handler, data: bytearray, limit: int | None) -> None:
        data = data if limit is None else data[:limit]
        try:
            for at in range(0, len(data), self.block):
                handler.wfile.write(data[at : at + self.block])
                handler.wfile.flush()
                if self.pause and self.over.wait(self.pause):
                    return
        except OSError:
            return  # whoever asked has left
        if limit is not None:
            handler.close_connection = True
            handler.connection.close()


def write_extension(folder: Path, wheels: list[Path], python: str = "") -> Path:
    """A packaged extension ``momug`` in ``folder`` whose model needs only ``wheels``; returns its own folder."""
    addon = folder / "momug"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "blender_addon" / "client", addon / "client", ignore=skip)
    (addon / "__init__.py").write_text("")
    (addon / "backend").mkdir()
    for name in ("__init__.py", "paths.py", "protocol.py"):
        shutil.copy(ROOT / "backend" / name, addon / "backend" / name)
    version = {wheel: wheel.name.split("-")[1].partition("+")[0] for wheel in wheels}
    pins = "".join(f"{wheel.name.split('-')[0]}=={version[wheel]}\n" for wheel in wheels)
    (addon / "backend" / "requirements.txt").write_text(pins, encoding="utf-8")
    packages = [
        {
            "name": wheel.name.split("-")[0],
            "version": version[wheel],
            "licence": "MIT",
            "grows": 2.0,
            "wheels": [[wheel.name, wheel.stat().st_size, sha256(wheel)]],
        }
        for wheel in wheels
    ]
    table = {"packages": packages, "base": [], "tools": []}
    (addon / "backend" / "wheels.json").write_text(json.dumps(table), encoding="utf-8")
    return addon
