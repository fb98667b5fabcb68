// Asking: an answer is written as its pieces come, with the time that it rests on. Stop, Escape and the next question end it.

import { at, button, call, clock, dateOf, made, shorten } from "/call.js";
import { speak, stopSpeaking } from "/speech.js";
import { showMoment, showSpan, span } from "/timeline.js";

const MOST_TURNS = 100; // the oldest leave

const turns = []; // [question, answer] of this page's dialogue
let asking = null;
export const answered = new EventTarget(); // tells each whole answer

export async function ask(question) {
  asking?.abort();
  stopSpeaking();
  const mine = (asking = new AbortController());
  const line = begun(question, span() ? ` (${clock(span()[0])} to ${clock(span()[1])})` : "");
  at("stop").hidden = false;
  try {
    const body = { question, stream: true, earlier: turns.slice(-8) };
    if (span()) body.between = span().map((date) => date.toISOString());
    for await (const told of pieces(await call("POST", "/v1/ask", body, mine.signal))) {
      if (told.error) throw new Error(told.error.message);
      if (told.piece !== undefined) line.answer.textContent += told.piece;
      else finished(line, told);
      at("talk").scrollTop = at("talk").scrollHeight;
    }
  } catch (error) {
    const stopped = error.name === "AbortError";
    line.turn.append(made("div", stopped ? "times" : "wrong", stopped ? "stopped" : error.message));
  } finally {
    if (asking === mine) at("stop").hidden = true;
  }
}

// What was asked aloud, and answered of itself.
export function heard(event) {
  const line = begun("asked aloud", "");
  line.answer.textContent = event.text;
  line.turn.append(made("div", "times", clock(new Date(event.at))));
  speak(event.text);
}

function begun(question, about) {
  const turn = made("div", "turn");
  const answer = made("div", "answer");
  turn.append(made("div", "question", question + about), answer);
  at("talk").append(turn);
  shorten(at("talk"), "firstChild", MOST_TURNS);
  at("talk").scrollTop = at("talk").scrollHeight;
  return { turn, answer };
}

function finished(line, told) {
  const [since, until] = told.rests_on_s;
  const times = made("div", "times", `first word after ${Math.round(told.latency_ms.first_token)} ms; rests on `);
  const shown = `${clock(dateOf(since))} to ${clock(dateOf(until))}`;
  times.append(button(shown, () => showMoment(until - 5, until, `what “${told.text}” rests on, at its end`)));
  line.turn.append(times);
  turns.push([told.question, told.text]);
  answered.dispatchEvent(new CustomEvent("answer", { detail: told }));
  speak(told.text);
}

async function* pieces(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const events = (unread + read.value).split("\n\n");
    unread = events.pop();
    for (const event of events) yield JSON.parse(event.replace(/^data: /, ""));
  }
}

export function forgetDialogue() {
  turns.length = 0;
}

at("asking").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(at("question").value);
  at("question").value = "";
});
at("question").addEventListener("input", stopSpeaking); // who types wants to be heard
at("stop").addEventListener("click", () => asking?.abort());
at("now").addEventListener("click", () => showSpan(null));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  asking?.abort();
  stopSpeaking();
});
