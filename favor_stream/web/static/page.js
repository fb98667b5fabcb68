// The page: what is perceived and what happened as it comes, questions, watches. It calls this server and nobody else.

const STATUS_EVERY_MS = 1000;
const MOST_LINES = 200; // of talk and of events; the oldest leave

const at = (id) => document.getElementById(id);

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer;
}

// Asking: the answer is written as its pieces come; Stop, Escape and the next question end it.

let asking = null;

async function ask(question) {
  asking?.abort();
  const mine = (asking = new AbortController());
  const line = made("div", "turn");
  const answer = made("div", "answer");
  line.append(made("div", "question", question), answer);
  at("talk").append(line);
  shorten(at("talk"), "firstChild");
  at("stop").hidden = false;
  try {
    for await (const told of pieces(question, mine.signal)) {
      if (told.error) throw new Error(told.error.message);
      if (told.piece !== undefined) answer.textContent += told.piece;
      else line.append(times(told));
      at("talk").scrollTop = at("talk").scrollHeight;
    }
  } catch (error) {
    const stopped = error.name === "AbortError";
    line.append(made("div", stopped ? "times" : "wrong", stopped ? "stopped" : error.message));
  } finally {
    if (asking === mine) at("stop").hidden = true;
  }
}

async function* pieces(question, signal) {
  const answer = await fetch("/v1/ask", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ question, stream: true }),
    signal,
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const events = (unread + read.value).split("\n\n");
    unread = events.pop();
    for (const event of events) yield JSON.parse(event.replace(/^data: /, ""));
  }
}

function times(told) {
  const { first_token: first, total } = told.latency_ms;
  return made("div", "times", `of ${clock(told.heard_until_s)}; first word after ${first} ms, all after ${total} ms`);
}

at("asking").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(at("question").value);
  at("question").value = "";
});
at("stop").addEventListener("click", () => asking?.abort());
document.addEventListener("keydown", (event) => event.key === "Escape" && asking?.abort());

// Events.

function listen() {
  const events = new EventSource("/v1/events/stream");
  events.onmessage = (message) => show(JSON.parse(message.data));
}

function show(event) {
  if (event.kind === "perceived") {
    at("perceived").textContent = event.text || "nothing";
    return;
  }
  const line = made("li");
  const words = event.kind === "watch" ? happening(event) : made("span", "", event.text);
  line.append(made("time", "", clock(event.time_s)), words);
  if (event.snapshot) line.append(link(event.snapshot.url, "picture"));
  if (event.clip) line.append(link(event.clip.url, "clip"));
  at("events").prepend(line);
  shorten(at("events"), "lastChild");
}

function happening(event) {
  const phase = { new: "began", update: "goes on", end: "ended" }[event.phase];
  return made("span", "watch", `${event.summary}: ${phase} (${Math.round(event.confidence * 100)} %)`);
}

function link(address, text) {
  const made_link = made("a", "", text);
  made_link.href = address;
  made_link.target = "_blank";
  return made_link;
}

function shorten(list, oldest) {
  while (list.children.length > MOST_LINES) list[oldest].remove();
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

// Watches.

async function showWatches() {
  const { watches } = await (await call("GET", "/v1/watches")).json();
  at("watches").replaceChildren(...watches.map(watchLine));
}

function watchLine(watch) {
  const line = made("li");
  const box = made("input");
  box.type = "checkbox";
  box.checked = watch.is_on;
  box.id = `watch-${watch.name}`;
  box.addEventListener("change", () => changed("PATCH", watch.name, { is_on: box.checked }));
  const label = made("label", "", watch.question);
  label.htmlFor = box.id;
  const remove = made("button", "", "Remove");
  remove.type = "button";
  remove.ariaLabel = `Remove ${watch.question}`;
  remove.addEventListener("click", () => changed("DELETE", watch.name));
  line.append(box, label, made("span", "times", `from ${watch.on}, until ${watch.off}`), remove);
  return line;
}

async function changed(method, name, body) {
  at("trouble").textContent = "";
  try {
    await call(method, name === undefined ? "/v1/watches" : `/v1/watches/${name}`, body);
  } catch (error) {
    at("trouble").textContent = error.message;
  }
  await showWatches();
}

at("watching").addEventListener("submit", (event) => {
  event.preventDefault();
  changed("POST", undefined, { question: at("sentence").value });
  at("sentence").value = "";
});

// How the agent is.

async function showStatus() {
  try {
    const status = await (await call("GET", "/v1/status")).json();
    at("state").textContent = `${status.sources.join(" + ")}: ${[status.state, status.reason].filter(Boolean).join(", ")}`;
    at("state").className = status.state;
    showPrivacy(status.is_held);
    showFigures(status);
  } catch (error) {
    at("state").textContent = `no answer from the agent (${error.message}); trying again`;
    at("state").className = "lost";
  }
}

function showPrivacy(isHeld) {
  at("privacy").ariaPressed = String(isHeld);
  at("dark").hidden = !isHeld;
  at("picture").hidden = isHeld;
}

function showFigures(status) {
  const [first, last] = status.remembered_s;
  const figures = {
    time: clock(status.heard_until_s),
    behind: `${status.lag_s.toFixed(1)} s`,
    "of real time": status.real_time_factor.toFixed(2),
    "pictures dropped": `${status.pictures_dropped} of ${status.pictures_in}`,
    remembered: `${(last - first).toFixed(0)} s`,
    memory: `${status.tokens} of ${status.budget_tokens} tokens`,
  };
  at("figures").replaceChildren(
    ...Object.entries(figures).map(([name, value]) => {
      const pair = made("div");
      pair.append(made("dt", "", name), made("dd", "", value));
      return pair;
    }),
  );
}

at("privacy").addEventListener("click", async () => {
  await call("PUT", "/v1/privacy", { on: at("privacy").ariaPressed !== "true" });
  await showStatus();
});

listen();
showWatches();
showStatus();
setInterval(showStatus, STATUS_EVERY_MS);
