"""The kinds of question: who knows the answer, how often training asks, and in which words it does and a test does.

No word of a tested wording is new, only their order is. Add a kind here: its function in `facts`, `stills` or `belonging`, and
its line in KINDS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from favor_stream.aveb import belonging, facts, stills
from favor_stream.aveb.facts import Asked, Rng
from favor_stream.aveb.view import View

NOW_SEE, NOW_HEAR, SPOKEN = "what do you see now?", "what do you hear now?", "answer the spoken question"


@dataclass(frozen=True, slots=True)
class Kind:
    ask: Callable[[View, Rng], Asked | None]
    weight: float  # how often training asks it, against the others of its setting
    wordings: tuple[str, ...]  # of training
    tested: tuple[str, ...]  # that training never uses


KINDS = {
    "now_see": Kind(
        facts.now_see,
        1.5,
        (
            NOW_SEE,
            "what is in view now?",
            "what is there to see right now?",
            "tell me what you see now",
            "tell me what is there to see now",
            "say what is in view now",
        ),
        ("what do you see right now?", "tell me what is in view now"),
    ),
    "now_hear": Kind(
        facts.now_hear,
        1.0,
        (NOW_HEAR, "which sound do you hear now?", "what is there to hear right now?", "tell me what you hear now"),
        ("what do you hear right now?", "tell me which sound you hear now"),
    ),
    "said": Kind(
        facts.said,
        6.0,
        ("what was said?", "what did they say?", "write down what was said", "tell me what they said"),
        ("write down what they said", "tell me what was said"),
    ),
    "said_last": Kind(
        facts.said_last,
        3.0,
        ("what was said last?", "what did they say last?", "write down what was said last", "tell me what they said last"),
        ("write down what they said last", "tell me what was said last"),
    ),
    "sounds": Kind(
        facts.sounds,
        3.0,
        ("what sounds did you hear?", "which sounds did you hear?", "list the sounds you heard", "tell me the sounds in order"),
        ("list the sounds in order", "tell me which sounds you heard"),
    ),
    "story": Kind(
        facts.story,
        4.0,
        ("what happened?", "tell me what happened", "list what happened in order", "write down what happened"),
        ("list what happened", "write down what happened in order"),
    ),
    "colour": Kind(
        facts.colour,
        6.0,
        (
            "what colour was the {shape}?",
            "which colour was the {shape}?",
            "tell me the colour of the {shape}",
            "say what colour the {shape} was",
        ),
        ("what was the colour of the {shape}?", "tell me which colour the {shape} was"),
    ),
    "shape": Kind(
        facts.shape,
        1.0,
        (
            "what shape was the {colour} thing?",
            "which shape was the {colour} one?",
            "tell me the shape of the {colour} thing",
            "say what shape the {colour} one was",
        ),
        ("what was the shape of the {colour} thing?", "tell me which shape the {colour} one was"),
    ),
    "motion": Kind(
        facts.motion,
        3.0,
        (
            "which way did the {thing} move?",
            "where did the {thing} move?",
            "how did the {thing} move?",
            "tell me which way the {thing} moved",
            "tell me, how did the {thing} move?",
            "say how the {thing} moved",
        ),
        ("tell me how the {thing} moved", "say which way the {thing} moved"),
    ),
    "word": Kind(
        facts.word,
        1.0,
        ("what word was shown?", "which word did you read?", "what was the written word?", "tell me the word you read"),
        ("which word was shown?", "what word did you read?"),
    ),
    "first": Kind(
        facts.first,
        1.0,
        ("what came first?", "what did you see first?", "what was the first thing?", "tell me what came first"),
        ("tell me the first thing", "which thing came first?"),
    ),
    "last": Kind(
        facts.last,
        1.0,
        ("what came last?", "what did you see last?", "what was the last thing?", "tell me what came last"),
        ("tell me the last thing", "which thing came last?"),
    ),
    "after": Kind(
        facts.after,
        3.0,
        (
            "what came right after the {thing}?",
            "what did you see after the {thing}?",
            "what followed the {thing}?",
            "which thing came after the {thing}?",
        ),
        ("what came after the {thing}?", "tell me what followed the {thing}"),
    ),
    "before": Kind(
        facts.before,
        4.0,
        (
            "what came right before the {thing}?",
            "what did you see before the {thing}?",
            "what preceded the {thing}?",
            "which thing came before the {thing}?",
        ),
        ("what came before the {thing}?", "tell me what preceded the {thing}"),
    ),
    "seen_during": Kind(
        facts.seen_during,
        4.0,
        (
            "what was in view when you heard the {sound}?",
            "what did you see during the {sound}?",
            "what was there to see when the {sound} sounded?",
            "tell me what you saw during the {sound}",
        ),
        ("what was in view during the {sound}?", "what did you see when the {sound} sounded?"),
    ),
    "heard_during": Kind(
        facts.heard_during,
        6.0,
        (
            "what did you hear while the {thing} was in view?",
            "which sound came with the {thing}?",
            "what sounded while you saw the {thing}?",
            "tell me which sound you heard with the {thing}",
        ),
        ("what sounded while the {thing} was in view?", "which sound did you hear with the {thing}?"),
    ),
    "count_things": Kind(
        facts.count_things,
        3.0,
        ("how many things did you see?", "how many things came?", "count the things you saw", "tell me how many things came"),
        ("tell me how many things you saw", "count how many things you saw"),
    ),
    "count_sound": Kind(
        facts.count_sound,
        6.0,
        (
            "how many times did you hear {a_sound}?",
            "how often did you hear {a_sound}?",
            "count how often you heard {a_sound}",
            "tell me how often {a_sound} sounded",
        ),
        ("tell me how many times you heard {a_sound}", "count how many times {a_sound} sounded"),
    ),
    "saw": Kind(
        facts.saw,
        3.0,
        ("did you see {a_thing}?", "was there {a_thing}?", "have you seen {a_thing}?", "was {a_thing} in view?"),
        ("was {a_thing} seen?", "was there {a_thing} in view?"),
    ),
    "heard": Kind(
        facts.heard,
        1.0,
        ("did you hear {a_sound}?", "was there {a_sound}?", "have you heard {a_sound}?", "was there {a_sound} to hear?"),
        ("was {a_sound} heard?", "have you heard {a_sound} sound?"),
    ),
    "sound_order": Kind(
        facts.sound_order,
        4.0,
        (
            "did the {sound} come before the {other}?",
            "was the {sound} before the {other}?",
            "did you hear the {sound} earlier than the {other}?",
            "did you hear the {sound} before the {other}?",
        ),
        ("was the {sound} earlier than the {other}?", "did the {sound} sound before the {other}?"),
    ),
    "cross_order": Kind(
        facts.cross_order,
        3.0,
        (
            "did the {sound} come before the {thing}?",
            "was the {sound} before the {thing}?",
            "did you hear the {sound} earlier than you saw the {thing}?",
            "did you hear the {sound} before you saw the {thing}?",
        ),
        ("was the {sound} earlier than the {thing}?", "did the {sound} sound before the {thing}?"),
    ),
    "why": Kind(
        facts.why,
        9.0,
        (
            "why did the {thing} come?",
            "why was the {thing} there?",
            "tell me why the {thing} came",
            "say why you saw the {thing}",
        ),
        ("why did you see the {thing}?", "tell me why the {thing} was there"),
    ),
    "seen_ago": Kind(
        facts.seen_ago,
        3.0,
        (
            "how many seconds ago did you see the {thing}?",
            "how many seconds ago was the {thing} there?",
            "how long ago did you see the {thing}?",
        ),
        ("how many seconds ago was the {thing} in view?", "how long ago was the {thing} there?"),
    ),
    "heard_ago": Kind(
        facts.heard_ago,
        3.0,
        (
            "how many seconds ago did you hear the {sound}?",
            "how many seconds ago was the {sound}?",
            "how long ago did you hear the {sound}?",
        ),
        ("how many seconds ago did the {sound} sound?", "how long ago was the {sound}?"),
    ),
    "spoken": Kind(
        facts.spoken,
        4.0,
        (
            SPOKEN,
            "answer the question you heard",
            "reply to the spoken question",
            "answer what was asked",
            "answer now what was asked",
        ),
        ("reply to the question you heard", "answer the spoken question now"),
    ),
    "sees": Kind(
        facts.sees,
        6.0,
        (
            "do you see {a_thing} now?",
            "is there {a_thing} now?",
            "{a_thing} appears?",
            "{a_thing} is in view?",
            "is {a_thing} in view now?",
        ),
        ("do you see {a_thing} right now?", "is {a_thing} there now?"),
    ),
    "hears": Kind(
        facts.hears,
        6.0,
        (
            "do you hear {a_sound} now?",
            "is there {a_sound} to hear now?",
            "{a_sound} sounds?",
            "you hear {a_sound}?",
            "is there {a_sound} now?",
        ),
        ("do you hear {a_sound} right now?", "is {a_sound} there to hear now?"),
    ),
    "caption": Kind(
        stills.caption,
        4.0,
        ("what does the picture show?", "write down what is in the picture", "list what the picture shows"),
        ("list what is in the picture", "write down what the picture shows"),
    ),
    "size": Kind(
        stills.size,
        4.0,
        (
            "how large is the {thing}?",
            "is the {thing} small or large?",
            "tell me how large the {thing} is",
            "say, is the {thing} large or small?",
        ),
        ("say how large the {thing} is", "tell me, is the {thing} small or large?"),
    ),
    "side": Kind(
        stills.side,
        3.0,
        (
            "where is the {thing}?",
            "tell me where the {thing} is",
            "in which part of the picture is the {thing}?",
            "in the picture, where is the {thing}?",
            "tell me in which part of the picture the {thing} is",
        ),
        ("say where the {thing} is", "where in the picture is the {thing}?"),
    ),
    "beside": Kind(
        stills.beside,
        4.0,
        (
            "what is {side} of the {thing}?",
            "which thing is {side} of the {thing}?",
            "tell me what is {side} of the {thing}",
            "tell me what you see {side} of the {thing}",
        ),
        ("what do you see {side} of the {thing}?", "tell me which thing is {side} of the {thing}"),
    ),
    "how_many": Kind(
        stills.how_many,
        2.0,
        (
            "how many things are in the picture?",
            "how many things do you see now?",
            "how many things are in view?",
            "say how many things the picture shows",
            "count the things in the picture",
            "count what is in view now",
            "count what you see right now",
        ),
        ("how many things does the picture show?", "count the things you see now"),
    ),
    "source": Kind(
        belonging.source,
        4.0,
        ("which thing makes the {sound}?", "where does the {sound} come from?", "what is the source of the {sound}?"),
        ("what makes the {sound}?", "which thing is the source of the {sound}?"),
    ),
    "fits_in_time": Kind(
        belonging.fits_in_time,
        4.0,
        ("do sound and picture belong together?", "does the sound fit the picture?", "is the sound of what you see?"),
        ("do the sound and the picture fit?", "does the sound belong to what you see?"),
    ),
    "fits_in_words": Kind(
        belonging.fits_in_words,
        4.0,
        ("does what was said fit the picture?", "is what they said in the picture?", "do words and picture belong together?"),
        ("do words and picture fit?", "does the picture show what was said?"),
    ),
}
