// What the parts of the page share: how this server is called, and how an element is made. Nobody else is called.

export const at = (id) => document.getElementById(id);

// The stream that the page is about; every call names it.
export const chosen = { stream: "" };

export function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function button(text, pressed) {
  const element = made("button", "", text);
  element.type = "button";
  element.addEventListener("click", pressed);
  return element;
}

export function address(path) {
  const joined = path.includes("?") ? "&" : "?";
  return `${path}${joined}stream=${encodeURIComponent(chosen.stream)}`;
}

// Throws an Error with the server's own line for what cannot be done.
export async function call(method, path, body, signal) {
  const answer = await fetch(address(path), {
    method,
    signal,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer;
}

export function shorten(list, oldest, most) {
  while (list.children.length > most) list[oldest].remove();
}

// Times of the stream in seconds, and when they were, by this machine's clock. Told anew with each status.
export const epoch = { ms: Date.now() };

export const dateOf = (streamS) => new Date(epoch.ms + streamS * 1000);
export const streamOf = (date) => (date.getTime() - epoch.ms) / 1000;
export const clock = (date) => date.toLocaleTimeString([], { hour12: false });
