"""Write backend/wheels.json: every wheel that an installation may need, with its size, SHA-256 and licence.

python3 build.py lock [--uv PATH_OF_UV] [--wheels FOLDER]

uv (a package of that name) resolves backend/requirements.txt for all systems at once and tells each file's size and
hash; licence and unpacked size are read from the wheel itself, from the directory at the end of its zip and its
METADATA, without fetching the rest. FOLDER holds wheels that no general index has (PyTorch's CPU build): they are
hashed here. Needs Python 3.11 and the network.
"""

import email
import io
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from backend import paths  # noqa: E402
from blender_addon.client import base_model, download, interpreters, platforms  # noqa: E402
from blender_addon.client.plan import pins  # noqa: E402

SYSTEMS = {"win": ("x86_64",), "mac": ("arm64", "x86_64"), "linux": ("x86_64", "arm64")}
TARGETS = [
    platforms.Target(system, machine, python)
    for system, machines in SYSTEMS.items()
    for machine in machines
    for python in interpreters.BACKEND_PYTHONS
]
HERE = platforms.Target("linux", "x86_64", (3, 11))


class Remote(io.RawIOBase):
    """A file on a server, read in pieces."""

    def __init__(self, url: str, size: int):
        self.url, self.size, self.at = url, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer) -> int:
        end = min(self.at + len(buffer), self.size)
        if end <= self.at:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.at}-{end - 1}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            data = answer.read()
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def resolve(uv: str, requirements: str) -> list[dict]:
    """The packages of a universal pylock.toml (PEP 751) for ``requirements``."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "requirements.in"), Path(folder, "pylock.toml")
        source.write_text(requirements, encoding="utf-8")
        words = ["--universal", "--python-version", "3.11", "--format", "pylock.toml", "--quiet"]
        subprocess.run([uv, "pip", "compile", source, *words, "--output-file", target], check=True)
        return tomllib.loads(target.read_text(encoding="utf-8"))["packages"]


def inspect(url: str, size: int) -> tuple[str, float]:
    """Licence, and how many times larger the wheel is unpacked."""
    with zipfile.ZipFile(io.BufferedReader(Remote(url, size), 1 << 16)) as wheel:
        metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        fields = email.message_from_bytes(wheel.read(metadata))
        unpacked = sum(entry.file_size for entry in wheel.infolist())
    return licence(fields), round(unpacked / size, 2)


def licence(fields: "email.message.Message") -> str:
    classifiers = [c.rpartition(" :: ")[2] for c in fields.get_all("Classifier", []) if c.startswith("License ::")]
    told = fields.get("License-Expression") or ", ".join(classifiers) or (fields.get("License") or "").strip()
    return re.sub(r"^LicenseRef-", "", told.splitlines()[0])[:60] if told else ""


def systems(marker: str) -> list[str]:
    """The systems that a marker names; all of them without one."""
    if "sys_platform" not in marker:
        return []
    return [ours for theirs, ours in platforms.SYSTEMS.items() if f"'{theirs}'" in marker]


def entry(package: dict, own: set[str]) -> dict | None:
    """A package of the table, or None when no system of ours needs it."""
    name, marker = platforms.normal(package["name"]), package.get("marker", "")
    where = systems(marker)
    if "sys_platform" in marker and not where:
        return None
    wheels = {}
    for wheel in package.get("wheels", []):
        filename = wheel["url"].rpartition("/")[2]
        wheels[filename] = (wheel["url"], wheel["size"], wheel["hashes"]["sha256"])
    chosen = {}
    for target in TARGETS:
        if where and target.system not in where:
            continue
        ranks = {name: platforms.rank(name, target) for name in wheels}
        fitting = sorted((suits, name) for name, suits in ranks.items() if suits is not None)
        if fitting:
            chosen[fitting[0][1]] = target
    found = {"name": name, "version": package["version"]}
    if where:
        found["systems"] = where
    if name not in own:
        found["cuda"] = True  # brought along by PyTorch with CUDA
    sample = min(chosen, key=lambda filename: (platforms.rank(filename, HERE) is None, filename))
    found["licence"], found["grows"] = inspect(*wheels[sample][:2])
    found["wheels"] = [[filename, *wheels[filename][1:]] for filename in sorted(chosen)]
    return found


def main(uv: str, folder: Path | None) -> None:
    requirements = paths.REQUIREMENTS.read_text(encoding="utf-8")
    own = {name for name, _ in pins(requirements, "")}
    packages = [made for package in resolve(uv, requirements) if (made := entry(package, own))]
    base = [made for p in resolve(uv, base_model.PACKAGE) if (made := entry(p, {p["name"]}))]
    base = [made for made in base if made["name"] == base_model.PACKAGE.partition("==")[0]]
    tools = [entry(p, {p["name"]}) for p in resolve(uv, "uv")]
    for wheel in sorted(folder.glob("*.whl")) if folder else ():
        for package in packages:
            if platforms.split(wheel.name)[0] == package["name"]:
                size = wheel.stat().st_size
                with zipfile.ZipFile(wheel) as inside:
                    grows = round(sum(entry.file_size for entry in inside.infolist()) / size, 2)
                package["wheels"].append([wheel.name, size, download.digest(wheel), grows])
    table = {"requirements": paths.key(requirements), "packages": packages, "base": base, "tools": tools}
    text = json.dumps(table, ensure_ascii=False)
    text = re.sub(r'(\{"name"|"(?:packages|base|tools)": \[)', r"\n\1", text) + "\n"  # a line a package
    paths.WHEELS.write_text(text, encoding="utf-8", newline="\n")
    print(f"{paths.WHEELS}: {len(packages)} packages, {sum(len(p['wheels']) for p in packages)} wheels")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
