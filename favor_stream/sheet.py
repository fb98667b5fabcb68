"""What pages of figures in one file have in common: how they look, and how the verdict on a goal is worded."""

from __future__ import annotations

STYLE = "body{font:15px system-ui;margin:2em auto;max-width:60em}td,th{padding:.2em .8em;border-bottom:1px solid;text-align:left}"
VERDICTS = {True: "reached", False: "missed", None: ""}
