// The time line: what was perceived, watched for and answered, each at its time. A click shows that moment again; a drag, or the
// two fields beside the question, choose a time to ask about.

import { address, at, button, clock, dateOf, made, shorten, streamOf } from "/call.js";

const MOST = 400; // of a lane; the oldest leave
const MARKS = 5; // times on the ruler
const LEAST_DRAG_PX = 4;
const PLAYED_S = 10; // at most, of a moment

const lanes = Object.fromEntries(["sees", "hears", "said", "watches", "answers"].map((name) => [name, []]));
let chosenSpan = null; // two Dates, or null: now

export const span = () => chosenSpan;

// What is perceived holds until something else is.
export function perceived(event) {
  for (const lane of ["sees", "hears", "said"]) {
    const last = lanes[lane].at(-1);
    if (last && !last.until) {
      if (last.text === event[lane]) continue;
      last.until = event.time_s;
    }
    if (event[lane] && event[lane] !== "nothing") lanes[lane].push({ from: event.time_s, text: event[lane] });
  }
  draw();
}

export function happened(event) {
  const known = lanes.watches.find((each) => each.id === event.id);
  const from = event.time_s - (new Date(event.evidence.t_end) - new Date(event.evidence.t_start)) / 1000;
  const one = known ?? { id: event.id, from, text: event.summary };
  if (event.phase === "end") one.until = event.time_s;
  if (!known) lanes.watches.push(one);
  draw();
}

export function answeredAt(timeS, question, text) {
  lanes.answers.push({ from: timeS, until: timeS + 1, text: `${question} ${text}` });
  draw();
}

export function clearLine() {
  for (const lane of Object.values(lanes)) lane.length = 0;
  showSpan(null);
  at("moment").hidden = true;
  draw();
}

let now = 0;

export function movedTo(timeS) {
  now = timeS;
  draw();
}

const reach = () => Number(at("reach").value);
const share = (timeS) => (100 * (timeS - (now - reach()))) / reach();

function draw() {
  drawRuler();
  for (const [name, all] of Object.entries(lanes)) {
    while (all.length > MOST) all.shift();
    drawLane(at(`lane-${name}`), all.filter((one) => (one.until ?? now) > now - reach()));
  }
}

// Elements are moved and not made anew: one that has the focus keeps it.
function drawLane(lane, visible) {
  while (lane.children.length < visible.length) lane.append(button("", (event) => event.target.show()));
  shorten(lane, "lastChild", visible.length);
  visible.forEach((one, index) => {
    const element = lane.children[index];
    const until = one.until ?? now;
    const left = Math.max(0, share(one.from));
    element.style.left = `${left}%`;
    element.style.width = `${Math.min(100, share(until)) - left}%`;
    if (element.textContent !== one.text) element.textContent = one.text;
    element.title = `${clock(dateOf(one.from))} ${one.text}`;
    element.show = () => showMoment(one.from, until, one.text);
  });
}

function drawRuler() {
  const ruler = at("ruler");
  while (ruler.querySelectorAll("time").length < MARKS) ruler.append(made("time"));
  ruler.querySelectorAll("time").forEach((mark, index) => {
    const timeS = now - reach() + (index * reach()) / MARKS;
    mark.style.left = `${share(timeS)}%`;
    mark.textContent = clock(dateOf(timeS));
  });
  if (!chosenSpan) return;
  const [left, right] = chosenSpan.map((date) => Math.min(100, Math.max(0, share(streamOf(date)))));
  at("span").style.left = `${left}%`;
  at("span").style.width = `${right - left}%`;
}

// A moment, again: from the pictures and the sound that are still kept.

export async function showMoment(fromS, untilS, title) {
  const startS = Math.max(0, fromS - 1);
  const endS = Math.min(untilS + 1, startS + PLAYED_S);
  at("moment").hidden = false;
  at("moment-title").textContent = `${clock(dateOf(fromS))} ${title}`;
  at("moment-gone").textContent = "";
  at("moment-film").hidden = true;
  const answer = await fetch(address(`/v1/moment.mp4?start_s=${startS}&end_s=${endS}`));
  if (!answer.ok) {
    at("moment-gone").textContent = (await answer.json()).error.message;
    return;
  }
  URL.revokeObjectURL(at("moment-film").src);
  at("moment-film").src = URL.createObjectURL(await answer.blob());
  at("moment-film").hidden = false;
  at("moment-film").play().catch(() => {}); // it stands ready where playing by itself is not allowed
}

at("moment-close").addEventListener("click", () => {
  at("moment-film").pause();
  at("moment").hidden = true;
});

// The time that is asked about.

export function showSpan(dates) {
  chosenSpan = dates;
  at("now").hidden = at("span").hidden = !dates;
  const fields = [at("from"), at("to")];
  fields.forEach((field, index) => (field.value = dates ? clock(dates[index]) : ""));
  draw();
}

// The last time, at or before now, that the clock showed this.
function timeOf(field) {
  if (!field.value) return null;
  const date = new Date();
  const [hours, minutes, seconds = 0] = field.value.split(":").map(Number);
  date.setHours(hours, minutes, seconds, 0);
  if (date > new Date()) date.setDate(date.getDate() - 1);
  return date;
}

for (const field of [at("from"), at("to")]) {
  field.addEventListener("change", () => {
    const dates = [timeOf(at("from")), timeOf(at("to"))];
    if (dates[0] && dates[1] && dates[0] < dates[1]) showSpan(dates);
  });
}

at("ruler").addEventListener("pointerdown", (event) => {
  const ruler = at("ruler");
  const box = ruler.getBoundingClientRect();
  const timeAt = (x) => dateOf(now - reach() + (Math.min(Math.max(0, x - box.left), box.width) / box.width) * reach());
  const moved = ({ clientX }) => {
    if (Math.abs(clientX - event.clientX) < LEAST_DRAG_PX) return;
    showSpan([timeAt(Math.min(clientX, event.clientX)), timeAt(Math.max(clientX, event.clientX))]);
  };
  ruler.setPointerCapture(event.pointerId);
  ruler.addEventListener("pointermove", moved);
  ruler.addEventListener("pointerup", () => ruler.removeEventListener("pointermove", moved), { once: true });
});
at("reach").addEventListener("change", draw);
