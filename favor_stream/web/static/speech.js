// Answers aloud, by the browser's own voice. Whoever speaks or types is let speak: it stops.

import { at } from "/call.js";

const KEPT = "favor-aloud";

export function speak(text) {
  if (!at("aloud").checked || !text || !("speechSynthesis" in window)) return;
  speechSynthesis.cancel();
  speechSynthesis.speak(new SpeechSynthesisUtterance(text));
}

export function stopSpeaking() {
  if (isSpeaking()) speechSynthesis.cancel();
}

export function isSpeaking() {
  return "speechSynthesis" in window && speechSynthesis.speaking;
}

at("aloud").checked = localStorage.getItem(KEPT) === "true";
at("aloud").disabled = !("speechSynthesis" in window);
at("aloud").addEventListener("change", () => {
  localStorage.setItem(KEPT, at("aloud").checked);
  if (!at("aloud").checked) stopSpeaking();
});
