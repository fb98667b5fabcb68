"""Who is told besides the person at the terminal, as the settings name it: a broker, a web server, a page of figures.

It knows no connection.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from favor_stream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker and what this device is called there; raises ConfigError for what cannot be."""

    url: str = "mqtt://localhost"  # mqtts:// for TLS, a port behind the host
    protocol: str = "5"  # or "3.1.1", for an old broker
    user: str = ""
    password_file: Path | None = None  # None: the environment's FAVOR_MQTT_PASSWORD, if there is one
    ca: Path | None = None  # PEM files; None: the system's authorities
    certificate: Path | None = None
    key: Path | None = None
    device: str = "favor"  # small letters, digits, _ and -; part of every topic
    name: str = "Favor"  # for people
    root: str = "favor"  # the first word of every topic
    discovery: str = "homeassistant"  # prefix of Home Assistant's discovery; empty: it is not told
    most_waiting: int = 100_000  # messages on disk while the broker is away; the oldest are dropped beyond

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in ("mqtt", "mqtts") or not address.hostname or address.password:
            raise ConfigError("mqtt url: expected mqtt://HOST or mqtts://HOST, with :PORT or not, and no password in it")
        if self.protocol not in ("5", "3.1.1"):
            raise ConfigError(f'mqtt protocol is {self.protocol!r}; write "5" or "3.1.1"')
        for key, word in (("device", self.device), ("root", self.root)):
            if not re.fullmatch(r"[a-z0-9_-]{1,64}", word):
                raise ConfigError(f"mqtt {key} is {word!r}; write small letters, digits, _ or -")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("mqtt certificate and key belong together; give both or none")

    @property
    def topic(self) -> str:
        """Where all topics of this device begin."""
        return f"{self.root}/{self.device}"

    def password(self) -> str | None:
        return secret(self.password_file, "FAVOR_MQTT_PASSWORD")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of figures for Prometheus; raises ConfigError for what cannot be."""

    host: str = "127.0.0.1"  # this machine alone may read it
    port: int = 9464

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise ConfigError(f"metrics port is {self.port}; write one from 1 to 65535")


@dataclass(frozen=True, slots=True)
class Hook:
    """A web server that is told each event by POST; raises ConfigError for what cannot be."""

    url: str = ""  # https:// or http://
    secret_file: Path | None = None  # to sign with; None: the environment's FAVOR_WEBHOOK_SECRET, which must be there then
    most_waiting: int = 100_000  # events on disk while the server is away; the oldest are dropped beyond

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname or address.password:
            raise ConfigError("webhook url: expected https://HOST/PATH or http://HOST/PATH, with no password in it")

    def secret(self) -> str:
        found = secret(self.secret_file, "FAVOR_WEBHOOK_SECRET")
        if not found:
            raise ConfigError("the webhook has no secret to sign with; give secret_file or set FAVOR_WEBHOOK_SECRET")
        return found


def secret(path: Path | None, variable: str) -> str | None:
    """What a file holds, or else the environment; never a setting, which would be seen."""
    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the secret cannot be read ({error}); give a readable file") from error
