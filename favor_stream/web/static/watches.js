// Watches: added in a sentence, tried on the last minute, set, and how likely each is at the moment.

import { at, button, call, made } from "/call.js";

const TRIED_S = 60;
const WIDE = 120; // half seconds of a spark line, and its width

const lines = new Map(); // by the watch's name

export async function showWatches() {
  const { watches } = await (await call("GET", "/v1/watches")).json();
  for (const [name, line] of lines) {
    if (!watches.some((watch) => watch.name === name)) {
      line.element.remove();
      lines.delete(name);
    }
  }
  for (const watch of watches) {
    if (!lines.has(watch.name)) lines.set(watch.name, lineOf(watch));
    lines.get(watch.name).update(watch);
  }
}

function lineOf(watch) {
  const element = made("li");
  const box = made("input");
  box.type = "checkbox";
  box.id = `watch-${watch.name}`;
  box.addEventListener("change", () => changed("PATCH", watch.name, { is_on: box.checked }));
  const label = made("label", "", watch.question);
  label.htmlFor = box.id;
  const named = made("span", "field");
  named.append(box, label);
  const level = made("span", "times");
  const cooldown = cooldownOf(watch);
  const spark = at("spark").content.firstElementChild.cloneNode(true);
  const remove = button("Remove", () => changed("DELETE", watch.name));
  remove.ariaLabel = `Remove ${watch.question}`;
  element.append(named, spark, level, cooldown.field, remove);
  at("watches").append(element);
  return {
    element,
    update(now) {
      if (box.checked !== now.is_on) box.checked = now.is_on;
      if (document.activeElement !== cooldown.input) cooldown.input.value = now.cooldown_s;
      const last = now.levels.at(-1)?.[1];
      level.textContent = last === undefined ? "" : `${Math.round(last * 100)} %`;
      drawSpark(spark, now.levels, now);
    },
  };
}

function cooldownOf(watch) {
  const field = made("span", "field");
  const input = made("input");
  Object.assign(input, { type: "number", min: 0, step: 1, id: `cooldown-${watch.name}`, value: watch.cooldown_s });
  input.addEventListener("change", () => changed("PATCH", watch.name, { cooldown_s: Number(input.value) }));
  const label = made("label", "", "cooldown, s");
  label.htmlFor = input.id;
  field.append(label, input);
  return { field, input };
}

// The last minute, with the thresholds from which it holds and below which it no longer does.
function drawSpark(spark, levels, { on, off, question }) {
  const height = (value) => 23 - 22 * value;
  const first = WIDE - levels.length;
  spark.querySelector("polyline").setAttribute(
    "points",
    levels.map(([, value], index) => `${first + index},${height(value).toFixed(1)}`).join(" "),
  );
  for (const [name, value] of [["on", on], ["off", off]]) {
    const line = spark.querySelector(`.${name}`);
    line.setAttribute("y1", height(value));
    line.setAttribute("y2", height(value));
  }
  spark.ariaLabel = `how likely: ${question}; on from ${on}, off below ${off}`;
}

async function changed(method, name, body) {
  at("trouble").textContent = "";
  try {
    await call(method, name === undefined ? "/v1/watches" : `/v1/watches/${name}`, body);
    await showWatches();
  } catch (error) {
    at("trouble").textContent = error.message;
  }
}

async function rehearse() {
  at("trouble").textContent = "";
  at("tried").textContent = "looking at the last minute once more ...";
  try {
    const body = { question: at("sentence").value, last_s: TRIED_S };
    const { events, levels } = await (await call("POST", "/v1/watches/try", body)).json();
    at("tried").textContent = verdict(events.filter((event) => event.phase === "new"), levels);
  } catch (error) {
    at("tried").textContent = "";
    at("trouble").textContent = error.message;
  }
}

function verdict(told, levels) {
  const highest = Math.max(0, ...levels.map(([, value]) => value));
  const often = { 0: "not at all", 1: "once" }[told.length] ?? `${told.length} times`;
  return `In the last ${Math.round(levels.length / 2)} s it would have been told ${often}; at most ${Math.round(highest * 100)} % likely.`;
}

at("watching").addEventListener("submit", (event) => {
  event.preventDefault();
  changed("POST", undefined, { question: at("sentence").value });
  at("sentence").value = "";
});
at("try").addEventListener("click", () => at("watching").reportValidity() && rehearse());
