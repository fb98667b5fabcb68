"""A real Mosquitto for tests: on loopback, with a password file, persistence and, where asked for, TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from real import require

USER, PASSWORD = "agent", "s3cret"


class Mosquitto:
    """Started at once; `kill` it (-9) and `start` it again on the same port with what it had stored."""

    def __init__(self, folder: Path, tls: bool = False) -> None:
        binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        require(binary, "mosquitto is not installed (apt-get install mosquitto)")
        self.binary, self.folder, self.port = str(binary), folder, free_port()
        self.url = f"{'mqtts' if tls else 'mqtt'}://localhost:{self.port}"
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", passwords, USER, PASSWORD], check=True, capture_output=True)
        secure = certified(folder) if tls else ""
        self.settings = folder / "mosquitto.conf"
        self.settings.write_text(f"""listener {self.port} 127.0.0.1
{secure}
allow_anonymous false
password_file {passwords}
persistence true
persistence_location {folder}/
autosave_interval 1
autosave_on_changes true
max_queued_messages 100000
user root
""")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([self.binary, "-c", self.settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline_s, "mosquitto does not listen"
                time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def certified(folder: Path) -> str:
    """An authority of one's own in ca.crt and the settings of a listener that it vouches for."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for arguments in (
        ["req", "-x509", *curve, "-days", "2", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test-ca"],
        ["req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        + ["-out", "server.crt", "-extfile", "names"],
    ):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    return f"cafile {folder}/ca.crt\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key\ntls_version tlsv1.2"
