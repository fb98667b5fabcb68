"""The settings of one agent: from defaults, one TOML file and flags, in that order. Nothing else reads settings, and
this file knows nothing of what they are used for."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from favor_stream.errors import ConfigError
from favor_stream.outlets import Broker, Hook, Page, Robot
from favor_stream.records import Watch

Record = TypeVar("Record")
SHIPPED = Path(__file__).parent / "models" / "favor-nano"  # the weights folder that is installed with the package
DEVICES = ("auto", "cpu", "cuda")
LLM_WEIGHTS = ("stored", "int8", "fp8")
ENGINES = ("auto", "torch", "compile", "onnxruntime", "openvino", "cuda", "ort-tensorrt", "tensorrt")
LOG_LEVELS = ("debug", "info", "warning", "error")
RANGES = {  # smallest and largest value, in the unit of the name
    "context_s": (5.0, 86_400.0),
    "keep_s": (5.0, 3_600.0),
    "lag_s": (0.0, 60.0),
    "picture_hold_s": (0.0, 60.0),
    "pictures_per_s": (0.1, 60.0),
    "evidence_days": (0.01, 3_650.0),
    "evidence_mb": (1.0, 1_000_000.0),
    "journal_hours": (0.01, 87_600.0),
    "journal_mb": (1.0, 1_000_000.0),
    "max_answer_tokens": (1, 4_096),
    "threads": (0, 1_024),
}
PATHS = ("weights", "graphs", "evidence", "state")  # settings that are paths
OUTLETS: dict[str, type] = {"mqtt": Broker, "webhook": Hook, "metrics": Page, "robot": Robot}  # settings that are tables


def state_folder() -> Path:
    """Where what must survive a restart is kept when no `state` is set (XDG base directory specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "favor_stream"


def environment() -> Mapping[str, str]:
    """What a supervisor tells the program that it started."""
    return os.environ


def cache_folder() -> Path:
    """Where what can be made again is kept (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "favor_stream"


WANTED = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text in quotes",
    Path: "a folder in quotes",
    tuple: "tables such as [watches.door]",
    Broker: "a table [mqtt]",
    Hook: "a table [webhook]",
    Page: "a table [metrics]",
    Robot: "a table [robot]",
}


@dataclass(frozen=True, slots=True)
class Config:
    """The settings, checked when they are made; raises ConfigError for a value out of its range."""

    weights: Path | None = None  # a weights folder; None: SHIPPED
    device: str = "cpu"  # one of DEVICES; auto: cuda where there is one
    engine: str = "auto"  # what perceives: one of ENGINES; auto: what `favor-stream tune` chose here
    graphs: Path | None = None  # a folder of exported graphs; None: in `cache_folder`, by the weights
    llm_weights: str = "stored"  # one of LLM_WEIGHTS: as they are stored, or rounded to eight bits
    context_s: float = 600.0  # at least this much of the stream is remembered
    keep_s: float = 60.0  # sound and pictures held in the ring
    lag_s: float = 2.0  # how far a reader may fall behind the devices before slices are dropped
    picture_hold_s: float = 2.0  # a picture older than this is no longer shown to the model
    pictures_per_s: float = 4.0  # pictures taken from the camera; the rest are passed over
    max_answer_tokens: int = 64
    voice: bool = False  # whether questions that are spoken are answered
    threads: int = 0  # of torch; 0: its own choice
    log_level: str = "warning"  # one of LOG_LEVELS
    evidence: Path | None = None  # a folder for snapshots and clips of what watches saw; None: none are kept
    evidence_days: float = 7.0  # for which they are kept
    evidence_mb: float = 1000.0  # that they may fill
    journal: bool = (
        True  # whether what was perceived is written down in `state`: a few tokens of each window, no picture, no sound
    )
    journal_hours: float = 48.0  # for which it is kept
    journal_mb: float = 500.0  # that it may fill, for each stream; an hour of favor-nano is 40
    state: Path | None = None  # a folder for what survives a restart; None: `state_folder`
    watches: tuple[Watch, ...] = ()  # in the file: [watches.NAME] with the fields of records.Watch
    mqtt: Broker | None = None  # in the file: [mqtt]
    webhook: Hook | None = None  # in the file: [webhook]
    metrics: Page | None = None  # in the file: [metrics]
    robot: Robot | None = None  # in the file: [robot]

    def __post_init__(self) -> None:
        _check_choice("device", self.device, DEVICES)
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("llm_weights", self.llm_weights, LLM_WEIGHTS)
        _check_choice("log_level", self.log_level, LOG_LEVELS)
        for key, (least, most) in RANGES.items():
            value = getattr(self, key)
            if not least <= value <= most:  # also true of nan
                raise ConfigError(f"{key} is {value}; write a number from {least:g} to {most:g}")
        if self.lag_s > self.keep_s:
            raise ConfigError(f"lag_s is {self.lag_s}, longer than keep_s ({self.keep_s}); lower lag_s or raise keep_s")


def load(path: Path | None = None, **flags: object) -> Config:
    """The defaults, over them the TOML file at `path`, over it the flags; a flag that is None was not given.

    A relative `weights` in the file starts from the file's folder. Raises ConfigError with one line for a file that
    cannot be read, an unknown key, a wrong type or a value out of its range.
    """
    settings = {} if path is None else _settings(read_toml(path, "context_s = 600"), origin=str(path), folder=path.parent)
    given = {key: value for key, value in flags.items() if value is not None}
    return Config(**settings | _settings(given, origin="flags", folder=Path()))


def read_toml(path: Path, such_as: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError with one line for a file that cannot be read or is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a TOML file") from error
    except ValueError as error:  # broken TOML, or bytes that are not UTF-8
        raise ConfigError(f"{path}: is not TOML ({error}); expected lines such as: {such_as}") from error


def _settings(table: Mapping[str, object], origin: str, folder: Path) -> dict[str, Any]:
    """The same keys, each known and each value of its field's type."""
    known = _kinds(Config) | dict.fromkeys(PATHS, Path) | OUTLETS
    check_keys(table, known, origin)
    return {key: _typed(key, value, known[key], origin, folder) for key, value in table.items()}


def _kinds(record: type[Any]) -> dict[str, type]:
    """The type of each field's default; a field without a default is a text."""
    return {field.name: str if field.default is MISSING else type(field.default) for field in fields(record)}


def check_keys(table: Mapping[str, object], known: Iterable[str], origin: str) -> None:
    """Raises ConfigError for a key that is not `known`, with the nearest that is."""
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"{origin}: unknown key {key!r}; {guess}Known keys: {', '.join(known)}")


def _typed(key: str, value: object, kind: type, origin: str, folder: Path) -> object:
    """The value itself, a text as a path that starts from `folder`, or a table of tables as watches."""
    if kind is Path and isinstance(value, str | Path):
        try:
            return folder / Path(value).expanduser()
        except RuntimeError as error:
            raise ConfigError(f"{origin}: {key} is {str(value)!r}; no such user has a home here; write another path") from error
    if kind is tuple and isinstance(value, dict):
        return tuple(_watch(name, each, f"{origin}: [{key}.{name}]") for name, each in value.items())
    if kind in OUTLETS.values() and isinstance(value, dict):
        return _outlet(kind, value, f"{origin}: [{key}]", folder)
    if type(value) is kind or (kind is float and type(value) is int):  # not isinstance: True is no number of seconds
        return value
    raise ConfigError(f"{origin}: {key} is {value!r} ({type(value).__name__}); write {WANTED[kind]}")


def _watch(name: str, table: object, origin: str) -> Watch:
    known = {field: kind for field, kind in _kinds(Watch).items() if field != "name"}
    if not isinstance(table, dict) or "question" not in table:
        raise ConfigError(f'{origin}: expected a table with a question; write question = "a red circle appears"')
    check_keys(table, known, origin)
    settings: dict[str, Any] = {key: _typed(key, value, known[key], origin, Path()) for key, value in table.items()}
    return _made(Watch, origin, name=name, **settings)


def _outlet(record: type, table: Mapping[str, object], origin: str, folder: Path) -> object:
    kinds = _kinds(record)
    known = {key: Path if kind is type(None) else kind for key, kind in kinds.items()}  # None: of a path
    check_keys(table, known, origin)
    settings: dict[str, Any] = {key: _typed(key, value, known[key], origin, folder) for key, value in table.items()}
    return _made(record, origin, **settings)


def _made(record: Callable[..., Record], origin: str, **settings: object) -> Record:
    """A record that checks itself, and says where it comes from."""
    try:
        return record(**settings)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{key} is {value!r}; write one of {', '.join(choices)}")
