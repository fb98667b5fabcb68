"""The few things that can go wrong for a user. Each message says what was found, what was expected and what to do."""


class FavorError(Exception):
    """A mistake or a loss that the user can mend; the command line prints it as one line and exits with 2."""


class DeviceError(FavorError):
    """A camera, microphone, file or address could not be opened or read."""


class TrackTakenError(DeviceError):
    """Two sources bring sound, or two bring pictures: no waiting and no trying again will mend it."""


class ConfigError(FavorError):
    """A configuration file, flag or question is not what was expected."""


class WeightsError(FavorError):
    """A weights folder is missing, damaged or made for another configuration."""


class EngineError(FavorError):
    """An inference engine is missing or does not fit the exported graph."""


class Stale(FavorError):
    """What there is, is older than was asked for: act on nothing, and as safely as you can."""


class LeftError(FavorError, RuntimeError):
    """Something was asked of an agent that was left, or is being left."""
