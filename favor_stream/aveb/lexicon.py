"""The words of the generated world: what can be seen, heard and said in it, and which pairs training never sees."""

from __future__ import annotations

COLOURS = {  # name -> RGB
    "red": (214, 40, 40),
    "green": (44, 170, 60),
    "blue": (45, 80, 220),
    "yellow": (240, 215, 40),
    "purple": (150, 50, 190),
    "orange": (245, 135, 25),
    "white": (245, 245, 245),
    "black": (18, 18, 18),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
MOTIONS = ("still", "left", "right", "up", "down")
SIZES = ("small", "large")
SIDES = ("left", "middle", "right")  # thirds of the picture
SOUNDS = ("beep", "bell", "knock", "siren", "whistle", "buzzer", "horn", "hiss")
CARD_WORDS = [
    "exit",
    "stop",
    "open",
    "closed",
    "danger",
    "water",
    "power",
    "office",
    "kitchen",
    "garage",
    "engine",
    "pump",
    "tank",
    "north",
    "south",
    "east",
    "west",
    "lift",
    "ramp",
    "gate",
    "fire",
    "music",
    "coffee",
    "apple",
    "lemon",
    "bread",
    "hotel",
    "taxi",
    "train",
    "plane",
    "robot",
    "laser",
    "radio",
    "piano",
    "tiger",
    "zebra",
    "panda",
    "eagle",
]

# Colour-shape pairs that training never draws: one of each shape, colours spread.
HELD_OUT_PAIRS = frozenset(
    {
        ("red", "square"),
        ("blue", "star"),
        ("green", "ring"),
        ("yellow", "cross"),
        ("purple", "circle"),
        ("orange", "triangle"),
    }
)

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
OBJECTS = ["door", "window", "box", "cup", "ball", "lamp", "radio", "robot", "table", "chair", "key", "book"]
NAMES = ["anna", "ben", "carla", "david", "emma", "frank"]

# Sentences people say to a machine; {d} a digit, {o} an object, {n} a name.
SAYINGS = (
    "turn left",
    "turn right",
    "stop now",
    "go forward",
    "go back",
    "open the {o}",
    "close the {o}",
    "pick up the {o}",
    "put down the {o}",
    "bring me the {o}",
    "switch on the {o}",
    "switch off the {o}",
    "look at the {o}",
    "the code is {d} {d} {d}",
    "call room {d} {d}",
    "my name is {n}",
    "good morning {n}",
    "good night {n}",
    "please wait here",
    "please help me",
    "come here {n}",
    "where is the {o}",
    "i lost my {o}",
    "wait {d} minutes",
    "thank you {n}",
    "the {o} is under the {o}",
)

# Questions that are asked aloud.
SPOKEN_FORMS = (
    "what colour is the {shape}",
    "what shape is the {colour} one",
    "what did you hear",
    "what came first",
    "how many things did you see",
    "what word is shown",
    "did you hear a {sound}",
)


def a(name: str) -> str:
    """With its article; also what somebody says who shows it."""
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
