"""Who is told besides the person at the terminal, as the settings name it: a broker, a web server, other nodes of a robot.

It knows no connection.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from favor_stream.errors import ConfigError

MOST_WAITING = 10_000_000  # messages on disk, some gigabytes


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
        if not is_address(self.url, "mqtt", "mqtts"):
            raise ConfigError("mqtt url: expected mqtt://HOST or mqtts://HOST, with :PORT or not, and no password in it")
        if self.protocol not in ("5", "3.1.1"):
            raise ConfigError(f'mqtt protocol is {self.protocol!r}; write "5" or "3.1.1"')
        for key, word in (("device", self.device), ("root", self.root)):
            if not re.fullmatch(r"[a-z0-9_-]{1,64}", word):
                raise ConfigError(f"mqtt {key} is {word!r}; write small letters, digits, _ or -")
        check_waiting("mqtt", self.most_waiting)
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("mqtt certificate and key belong together; give both or none")

    @property
    def topic(self) -> str:
        """Where all topics of this device begin."""
        return f"{self.root}/{self.device}"

    def password(self) -> str | None:
        return secret(self.password_file, "FAVOR_MQTT_PASSWORD")


@dataclass(frozen=True, slots=True)
class Robot:
    """A node among those of ROS 2, and what it takes in and tells there; raises ConfigError for what cannot be."""

    wire: str = "auto"  # zenoh, dds or rclpy; auto: rclpy where there is a ROS install, else zenoh
    router: str = "tcp/localhost:7447"  # zenoh's
    distro: str = "jazzy"  # of the nodes on zenoh: "humble" knows no hashes of types
    domain: int = -1  # -1: the environment's ROS_DOMAIN_ID, or 0
    namespace: str = "/"
    node: str = "favor"
    pictures: str = ""  # topic of Image, or of CompressedImage if it ends in "compressed"; empty: no topic
    sound: str = ""  # topic of either package that is called audio_common_msgs; empty: no topic
    remap: str = ""  # other names for topics and services: "~/events:=/porch/events, ~/ask:=/porch/ask"
    use_sim_time: bool = False  # time is what /clock tells
    is_managed: bool = False  # it waits for somebody to configure and activate it
    annotated: bool = False  # tell ~/annotated/compressed too: the picture with what is perceived written on it

    def __post_init__(self) -> None:
        if self.distro not in ("jazzy", "humble"):
            raise ConfigError(f'robot distro is {self.distro!r}; write "humble", or "jazzy" for it and all later ones')
        if not (-1 <= self.domain <= 232):
            raise ConfigError(f"robot domain is {self.domain}; write one from 0 to 232")
        if self.pictures and self.pictures == self.sound:
            raise ConfigError(f"robot pictures and sound are both {self.pictures!r}; name a topic of its own for each")
        self.remappings()  # refused now, if at all

    def remappings(self) -> dict[str, str]:
        pairs = [pair.strip().partition(":=") for pair in self.remap.split(",") if pair.strip()]
        if wrong := [name for name, _, other in pairs if not name or not other]:
            raise ConfigError(f"robot remap has {wrong[0]!r}; write pairs such as ~/events:=/porch/events, with commas between")
        return {name: other for name, _, other in pairs}

    def ros_domain(self) -> int:
        told = os.environ.get("ROS_DOMAIN_ID", "") or "0"
        if self.domain < 0 and not (told.isdecimal() and int(told) <= 232):
            raise ConfigError(f"ROS_DOMAIN_ID is {told!r}; expected a number from 0 to 232")
        return int(told) if self.domain < 0 else self.domain


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
        if not is_address(self.url, "http", "https"):
            raise ConfigError("webhook url: expected https://HOST/PATH or http://HOST/PATH, with no password in it")
        check_waiting("webhook", self.most_waiting)

    def secret(self) -> str:
        found = secret(self.secret_file, "FAVOR_WEBHOOK_SECRET")
        if not found:
            raise ConfigError("the webhook has no secret to sign with; give secret_file or set FAVOR_WEBHOOK_SECRET")
        return found


def check_waiting(outlet: str, most: int) -> None:
    """Raises ConfigError for a number of messages that may not wait on disk."""
    if not 1 <= most <= MOST_WAITING:
        raise ConfigError(f"{outlet} most_waiting is {most}; write one from 1 to {MOST_WAITING}")


def is_address(url: str, *schemes: str) -> bool:
    """Whether it names a host by one of these schemes, with a port that may be one and no password."""
    try:
        address = urlsplit(url)
        return address.scheme in schemes and bool(address.hostname) and not address.password and address.port != 0
    except ValueError:  # of brackets and ports that are none
        return False


def secret(path: Path | None, variable: str) -> str | None:
    """What a file holds, or else the environment; never a setting, which would be seen."""
    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the secret cannot be read ({error}); give a readable file") from error
