// The page: which stream it is about, what is perceived and what happened as it comes, how the agent is.

import { address, at, call, chosen, clock, dateOf, epoch, made, shorten } from "/call.js";
import { brought, isOwn, link, ownName, start, suspend } from "/camera.js";
import { answered, forgetDialogue, heard } from "/talk.js";
import { answeredAt, clearLine, happened, movedTo, perceived } from "/timeline.js";
import { showWatches } from "/watches.js";

const EVERY_MS = 1000;
const SOURCES_EVERY = 3; // of these
const MOST_EVENTS = 200; // on the page; the oldest leave

let events = null; // what is followed
let lastAnswer = null;
let before = null; // the status before this one

// Streams.

function choose(name) {
  if (chosen.stream === name && events) return;
  chosen.stream = name;
  if (at("stream").value !== name) at("stream").value = name;
  events?.close();
  at("events").replaceChildren();
  clearLine();
  forgetDialogue();
  before = null;
  showPicture(false);
  events = new EventSource(address("/v1/events/stream"));
  events.onmessage = (message) => show(JSON.parse(message.data));
  turn();
}

async function showSources() {
  const { sources } = await (await call("GET", "/v1/sources")).json();
  const names = sources.map((source) => source.name);
  const select = at("stream");
  if (names.join() !== [...select.options].map((option) => option.value).join()) {
    select.replaceChildren(...sources.map((source) => new Option(labelOf(source), source.name)));
    select.value = chosen.stream;
  }
  if (!names.includes(chosen.stream) || !events) {
    if (names.length) choose(names[0]);
    else noStream();
  }
}

function labelOf(source) {
  if (source.name === ownName()) return "your camera and microphone";
  return source.is_brought ? `${source.name} (another browser's)` : `${source.name}: ${source.sources.map(shortName).join(" + ")}`;
}

// Of a film, without the folders that it lies in.
const shortName = (source) => (source.startsWith("/") ? source.split("/").at(-1) : source);

function noStream() {
  events?.close();
  events = null;
  chosen.stream = "";
  at("state").textContent = "no stream yet: press “Use my camera and microphone”";
  at("state").className = "";
  at("picture").hidden = true;
}

at("stream").addEventListener("change", () => choose(at("stream").value));
brought.addEventListener("started", async ({ detail }) => {
  await showSources();
  choose(detail);
});
brought.addEventListener("ended", ({ detail }) => {
  fetch(`/v1/sources/${detail}`, { method: "DELETE", keepalive: true }).then(() => detail === chosen.stream && showSources());
});

// Events.

function show(event) {
  if (event.kind === "perceived") {
    for (const part of ["sees", "hears", "said"]) at(part).textContent = event[part] || "nothing";
    return perceived(event);
  }
  if (event.kind === "watch") happened(event);
  if (event.kind === "answer") {
    heard(event);
    answeredAt(event.time_s, "", event.text);
  }
  at("events").prepend(lineOf(event));
  shorten(at("events"), "lastChild", MOST_EVENTS);
}

function lineOf(event) {
  const line = made("li");
  const time = made("time", "", clock(new Date(event.at)));
  time.dateTime = event.at;
  line.append(time, event.kind === "watch" ? happening(event) : made("span", "", event.text));
  if (event.snapshot) line.append(linkTo(event.snapshot.url, "picture"));
  if (event.clip) line.append(linkTo(event.clip.url, "clip"));
  return line;
}

function happening(event) {
  const phase = { new: "began", update: "goes on", end: "ended" }[event.phase];
  return made("span", "watch", `${event.summary}: ${phase} (${Math.round(event.confidence * 100)} %)`);
}

function linkTo(path, text) {
  const element = made("a", "", text);
  element.href = address(path);
  element.target = "_blank";
  return element;
}

answered.addEventListener("answer", ({ detail }) => {
  lastAnswer = detail.latency_ms;
  answeredAt(detail.rests_on_s[1], detail.question, detail.text);
});

// How the agent is.

async function showStatus() {
  try {
    const status = await (await call("GET", "/v1/status")).json();
    epoch.ms = Date.parse(status.heard_until) - status.heard_until_s * 1000;
    at("state").textContent = `${status.sources.map(shortName).join(" + ")}: ${[status.state, status.reason].filter(Boolean).join(", ")}`;
    at("state").className = status.state;
    showPicture(status.is_held);
    showFigures(status);
    movedTo(status.heard_until_s);
  } catch (error) {
    at("state").textContent = `no answer from the agent (${error.message}); trying again`;
    at("state").className = "lost";
  }
}

function showPicture(isHeld) {
  at("privacy").ariaPressed = String(isHeld);
  at("dark").hidden = !isHeld;
  at("own").hidden = isHeld || !isOwn() || !at("own").srcObject;
  at("picture").hidden = isHeld || !at("own").hidden;
  const wanted = at("picture").hidden ? "data:," : address("/v1/picture.mjpeg");
  if (at("picture").getAttribute("src") !== wanted) at("picture").src = wanted;
}

function showFigures(status) {
  const [first, last] = status.remembered_s;
  const engines = new Set(Object.values(status.engines));
  const figures = {
    time: clock(dateOf(status.heard_until_s)),
    behind: `${status.lag_s.toFixed(1)} s`,
    "of real time": status.real_time_factor.toFixed(2),
    pictures: `${rateOf(status, "pictures_in")} in, ${rateOf(status, "pictures_used")} used, ${status.pictures_dropped} dropped`,
    remembered: `${(last - first).toFixed(0)} s`,
    memory: `${status.tokens} of ${status.budget_tokens} tokens`,
    process: status.resident_bytes ? `${Math.round(status.resident_bytes / 1e6)} MB` : "",
    engines: engines.size === 1 ? [...engines][0] : Object.entries(status.engines).map((pair) => pair.join(" ")).join(", "),
    "last answer": lastAnswer ? spent(lastAnswer) : "",
    "your link": isOwn() ? linkFigures() : "",
  };
  before = status;
  at("figures").replaceChildren(...Object.entries(figures).filter(([, value]) => value).map(pairOf));
}

// So many a second, since the status before.
function rateOf(status, what) {
  const lastedS = before ? status.heard_until_s - before.heard_until_s : 0;
  return lastedS > 0 ? `${Math.round((status[what] - before[what]) / lastedS)}/s` : "-";
}

function spent(latency) {
  const { capture, encode, fuse, append, wait, first_token: first, total } = latency;
  const ms = (value) => `${Math.round(value)} ms`;
  return `seen ${ms(capture)} ago, encoded in ${ms(encode)}, Q-Former ${ms(fuse)}, append ${ms(append)}, waited ${ms(wait)}, first token ${ms(first - wait)}, rest ${ms(total - first)}`;
}

function linkFigures() {
  const clocks = link.drift_ppm === null ? "" : `, clock ${link.drift_ppm.toFixed(0)} ppm`;
  return link.rtt_ms === null ? "" : `${Math.round(link.rtt_ms)} ms round trip${clocks}, ${link.left_out} pictures left out`;
}

function pairOf([name, value]) {
  const pair = made("div");
  pair.append(made("dt", "", name), made("dd", "", value));
  return pair;
}

async function showPast() {
  const { written_down: reach } = await (await call("GET", "/v1/past")).json();
  at("written").textContent = reach ? `can be asked about since ${new Date(reach[0]).toLocaleString([], { hour12: false })}` : "";
}

at("privacy").addEventListener("click", async () => {
  const isOn = at("privacy").ariaPressed !== "true";
  await call("PUT", "/v1/privacy", { on: isOn });
  if (isOwn()) await (isOn ? suspend() : start()); // the camera's own light goes out too
  await showStatus();
});

let turns = 0;

async function turn() {
  if (turns++ % SOURCES_EVERY === 0) {
    await showSources().catch(() => {}); // told by the status
    if (chosen.stream) await showPast().catch(() => {});
  }
  if (!chosen.stream) return;
  await Promise.all([showStatus(), showWatches().catch(() => {})]);
}

await showSources().catch(() => {});
turn();
setInterval(turn, EVERY_MS);
