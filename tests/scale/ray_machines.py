"""Machines of a Ray cluster for tests: each a ``ray start --block`` of its own, ended as if its power had failed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

STARTED = "Ray runtime started"
PATIENCE = 120.0  # seconds for one machine to come up
TESTS = Path(__file__).resolve().parents[1]
IMPORTED = os.pathsep.join((str(TESTS.parent), str(TESTS / "backend")))  # what workers import: ours, the tests' model


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


class Machine:
    """A head (``address`` None) or one that joins the cluster at ``address``; started when this returns.

    ``port``: of a head, 0 for a free one; ``options``: more words for ``ray start``; ``variables``: for its
    environment. May be made in any thread, unlike those of ray.cluster_utils. Raises AssertionError with Ray's words.
    """

    def __init__(
        self,
        log: Path,
        address: str | None = None,
        *,
        port: int | str = 0,
        options: tuple[str, ...] = (),
        variables: dict[str, str] | None = None,
    ):
        self.log, self.folder = log, None
        words = [
            Path(sys.executable).with_name("ray"),
            "start",
            "--block",
            "--disable-usage-stats",
            "--log-color=false",
        ]
        # several share this computer: without these they would take the same ports
        names = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port")
        *ports, free = free_ports(len(names) + 1)
        port = port or free
        words += [f"--{name}={number}" for name, number in zip(names, ports, strict=True)]
        words += ["--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=150000000"]
        if address is None:
            # a note of its own: `--ray auto` of whoever works here does not find this one; short, for names of sockets
            self.folder = tempfile.mkdtemp(prefix="ray-")
            words += [
                f"--temp-dir={self.folder}",
                "--head",
                f"--port={port}",
                "--node-ip-address=127.0.0.1",
                "--include-dashboard=false",
            ]
        else:
            words += [f"--address={address}", "--node-ip-address=127.0.0.1"]
        self.address = address or f"127.0.0.1:{port}"
        environment = os.environ | {
            "PYTHONPATH": IMPORTED,
            "RAY_AUTH_MODE": "disabled",
            "RAY_worker_niceness": "0",
            **(variables or {}),
        }
        with open(log, "w") as told:
            self.process = subprocess.Popen(
                [str(word) for word in (*words, *options)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while STARTED not in self.said and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        if STARTED not in self.said:
            self.kill()
            raise AssertionError(self.said)

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL for all of its processes; nothing when it has ended."""
        if self.process.poll() is None:
            top = psutil.Process(self.process.pid)
            for process in (*top.children(recursive=True), top):
                try:
                    process.send_signal(signal.SIGKILL)
                except psutil.NoSuchProcess:
                    continue
        self.process.wait(60)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
