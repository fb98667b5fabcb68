"""The page of an evaluation as HTML that everybody can read and that needs no network. It knows nothing of files."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from favor_stream.aveb import confusion
from favor_stream.aveb.metrics import METRICS, interval, ratio
from favor_stream.aveb.tasks import Task
from favor_stream.aveb.worst import ERRORS_COUNTED, WORST, film_name
from favor_stream.sheet import STYLE as PLAIN
from favor_stream.sheet import VERDICTS

if TYPE_CHECKING:
    from favor_stream.aveb.answering import Reply
    from favor_stream.aveb.evaluation import Row

STYLE = (
    PLAIN
    + """
:root{color-scheme:light dark;--paper:light-dark(#fff,#16181b);--ink:light-dark(#1c1e21,#eceae6)}
:root{--faint:light-dark(#5b6067,#a4a9b0);--line:light-dark(#d9dbde,#3a3e44)}
:root{--good:light-dark(#0b57a4,#8ec5ff);--bad:light-dark(#a3241a,#ff9d92)}
body{max-width:72em;padding:0 1rem;box-sizing:border-box;background:var(--paper);color:var(--ink);overflow-wrap:anywhere}
a{color:var(--good)}dt,caption{color:var(--faint)}.missed{color:var(--bad)}
table{border-collapse:collapse;white-space:nowrap;font-variant-numeric:tabular-nums}caption{text-align:left}
td,th{border-color:var(--line);padding:.2em .6em}tr th[scope=row]{font-weight:normal}
.scroll{overflow-x:auto;margin:1em 0}
svg{fill:var(--ink);font-size:13px;overflow:visible}
svg .right,svg .span{fill:var(--good)}svg .wrong{fill:var(--bad)}svg .even{fill:var(--faint)}
svg rect{stroke:var(--line)}svg line{stroke:var(--ink);stroke-width:2}
.cases{display:grid;gap:1rem;padding:0;list-style-position:inside;grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr))}
.cases li{border:1px solid var(--line);border-radius:.4rem;padding:.6rem;min-width:0}
video{display:block;width:100%;aspect-ratio:4/3;background:#000}dl{margin:.5rem 0 0}dd{margin:0 0 .3rem;white-space:pre-wrap}
"""
)


def document(
    rows: Sequence[Row], tasks: Sequence[str], sections: Sequence[str], command: str, seed: int, beside: Sequence[str]
) -> str:
    day, machine = f"{datetime.now(UTC):%Y-%m-%d}", escape(platform.machine())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>favor-stream eval</title><style>{STYLE}</style><main><h1>favor-stream eval</h1>"
        f"<p>{day} · {machine} · seed {seed}</p><p><code>{escape(command)}</code></p>"
        f"{table(rows, tasks, beside)}{''.join(sections)}</main></html>\n"
    )


def table(rows: Sequence[Row], tasks: Sequence[str], beside: Sequence[str]) -> str:
    """The task's name leads to its section, where it has one."""
    heads = ["task", "AVEB", "metric", "questions", "score", "95 % interval", "goal", "verdict", "chance", "last 2 s", *beside]
    widest = max([1.0, *(row.high for row in rows)])
    lines = []
    for row in rows:
        name = escape(row.task)
        if row.task in tasks:
            name = f'<a href="#task-{tasks.index(row.task) + 1}">{name}</a>'
        others = [f"{score:.1%}" for score in row.beside[: len(beside)]]
        sign = "<=" if row.metric in ERRORS_COUNTED else ">="
        span = f"{bar(row.score, row.low, row.high, row.goal, widest)} {row.low:.1%} .. {row.high:.1%}"
        verdict = f'<span class="{VERDICTS[row.reached]}">{VERDICTS[row.reached]}</span>'
        goal = "" if row.goal is None else f"{escape(sign)} {row.goal:.1%}"
        figures = [str(row.questions), f"{row.score:.1%}", span, goal, verdict, f"{row.chance:.1%}", f"{row.recent:.1%}", *others]
        lines.append([name, escape(row.aveb), escape(row.metric), *figures])
    return tabular("all tasks", "Scores; in the bars the line is the goal", heads, lines)


def tabular(name: str, caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """`heads` are plain text, the cells are markup. A phone scrolls it by itself."""
    head = "".join(f'<th scope="col">{escape(text)}' for text in heads)
    body = "".join(f'<tr><th scope="row">{first}' + "".join(f"<td>{cell}" for cell in rest) for first, *rest in lines)
    return scrolled(f"scores of {name}", f"<table><caption>{escape(caption)}</caption><tr>{head}{body}</table>")


def scrolled(name: str, markup: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">{markup}</div>'


def bar(score: float, low: float, high: float, goal: float | None, widest: float) -> str:
    """The interval, the score in it and the goal; the words for it stand beside it."""
    from_px, until_px, score_px, goal_px = (100 * share / widest for share in (low, high, score, goal or 0.0))
    line = "" if goal is None else f'<line x1="{goal_px:.1f}" x2="{goal_px:.1f}" y1="0" y2="12"/>'
    return (
        '<svg aria-hidden="true" width="100" height="12" viewBox="0 0 100 12"><rect class="even" width="100" height="12" '
        f'fill-opacity=".15"/><rect class="span" x="{from_px:.1f}" y="3" width="{max(1.0, until_px - from_px):.1f}" height="6" '
        f'fill-opacity=".6"/><circle cx="{score_px:.1f}" cy="6" r="3"/>'
        f"{line}</svg>"
    )


def section(number: int, task: Task, replies: Sequence[Reply], cases: Sequence[Reply], films: str) -> str:
    """One task: its kinds, what was taken for what, and its worst cases with their films."""
    name, taken = escape(task.name), confusion.count(task.metric, ((r.question.answer, r.full) for r in replies))
    drawn = confusion.draw(task.metric, taken)
    picture = f"<h3>What was taken for what</h3>{scrolled(f'confusions of {task.name}', drawn)}" if drawn else ""
    shown = "".join(case(task.name, at, reply, films) for at, reply in enumerate(cases[:WORST], 1))
    listed = f'<h3>The worst {min(WORST, len(cases))} of {len(cases)}</h3><ol class="cases">{shown}</ol>' if shown else ""
    return (
        f'<section aria-labelledby="task-{number}"><h2 id="task-{number}">{name}</h2>'
        f"<p>{len(cases)} of {len(replies)} replies hold an error.</p>{by_kind(task, replies)}{picture}{listed}</section>"
    )


def by_kind(task: Task, replies: Sequence[Reply]) -> str:
    """The score of each kind of question, where there are several."""
    lines = []
    for kind in dict.fromkeys(reply.question.kind for reply in replies):
        mine = [reply for reply in replies if reply.question.kind == kind]
        parts = np.array([METRICS[task.metric](reply.question.answer, reply.full) for reply in mine])
        low, high = interval(parts)
        lines.append([escape(kind), str(len(mine)), f"{ratio(parts):.1%}", f"{low:.1%} .. {high:.1%}"])
    heads = ["kind", "questions", task.metric, "95 % interval"]
    return tabular(f"{task.name} by kind", "By kind of question", heads, lines) if len(lines) > 1 else ""


def case(task: str, number: int, reply: Reply, films: str) -> str:
    source = f"{quote(films)}/{film_name(reply.scene)}"
    told = [("asked before", f"{asked} {answered}") for asked, answered in reply.question.earlier]
    told += [("asked", reply.question.text), ("wanted", reply.question.answer), ("said", reply.full or confusion.SILENCE)]
    lacking = [name for name, has in (("pictures", reply.scene.is_seen), ("sound", reply.scene.is_heard)) if not has]
    if lacking:
        told.append(("clip", f"without {' and '.join(lacking)}"))
    words = "".join(f"<dt>{term}<dd>{escape(text)}" for term, text in told)
    label = escape(f"clip {number} of {task}")
    return f'<li><video controls preload="none" src="{source}" aria-label="{label}"></video><dl>{words}</dl>'
