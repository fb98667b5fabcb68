// This browser's camera and microphone, brought to the server as a stream of its own over one WebSocket. When the network is
// slow pictures are left out, sound is not. The connection comes back by itself, and goes on with the same stream. With
// ?transport=webrtc in the page's address it goes over WebRTC.

import { at, chosen } from "/call.js";
import { isSpeaking, stopSpeaking } from "/speech.js";
import { connectByWebRtc } from "/webrtc.js";

const BY_WEBRTC = new URLSearchParams(location.search).get("transport") === "webrtc";

const KEPT = "favor-stream";
const VISIT = Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16)).join("-"); // of this page alone
const SOUND = 1;
const PICTURE = 2;
const HEADER_BYTES = 9;
const RATE = 16_000;
const MOST_BUFFERED = 200_000; // bytes on their way from which on pictures are left out
const PING_MS = 1000;
const LOUD = 0.05; // effective value of a voice that interrupts
const LOUD_BLOCKS = 4; // of 32 ms, for which it must last
const SILENT_S = 5; // of exact silence, as a muted microphone gives

const now = () => performance.timeOrigin + performance.now();

export const link = { rtt_ms: null, drift_ppm: null, left_out: 0 };
export const brought = new EventTarget(); // tells "started" with the stream's name, and "ended"

let camera = null; // what is open, while it is

class Camera {
  constructor(media) {
    this.media = media;
    this.name = ownName(); // of a page that was loaded anew, the stream that it brought
    this.socket = null;
    this.waitMs = 250;
    this.isClosed = false;
    this.loud = 0;
    this.silentS = 0;
  }

  async open() {
    at("own").srcObject = this.media;
    await at("own").play().catch(() => {}); // a camera is shown where playing is allowed
    if (this.media.getAudioTracks().length) await this.listen();
    this.connect();
    this.pinging = setInterval(() => this.send(JSON.stringify({ type: "ping", sent_ms: now() })), PING_MS);
    for (const track of this.media.getTracks()) {
      track.addEventListener("ended", () => say(`the ${kindOf(track)} was taken away`, true));
      track.addEventListener("mute", () => say(`the ${kindOf(track)} is muted`, true));
      track.addEventListener("unmute", () => this.sayWhatIsBrought());
    }
  }

  async connect() {
    if (BY_WEBRTC) return this.connectByWebRtc();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}:${"/".repeat(2)}${location.host}/v1/media`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      const [sound, pictures] = [this.media.getAudioTracks().length > 0, this.media.getVideoTracks().length > 0];
      socket.send(JSON.stringify({ type: "start", sound, pictures, stream: this.name, visit: VISIT }));
    };
    socket.onmessage = (message) => this.told(JSON.parse(message.data));
    socket.onclose = () => this.reconnect();
    this.socket = socket;
  }

  async connectByWebRtc() {
    try {
      this.sent ??= new MediaStream(this.media.getTracks().map((track) => (track.kind === "audio" ? track.clone() : track)));
      this.peer = await connectByWebRtc(this.sent, { stream: this.name, visit: VISIT }, (state) => state === "closed" && this.reconnect());
      this.begin(this.peer.stream);
    } catch (error) {
      this.name = "";
      say(error.message, true);
    }
  }

  begin(name) {
    this.waitMs = 250;
    this.started = true;
    this.name = name;
    sessionStorage.setItem(KEPT, name);
    this.sayWhatIsBrought();
    brought.dispatchEvent(new CustomEvent("started", { detail: name }));
  }

  reconnect() {
    clearInterval(this.showing);
    this.started = false;
    if (this.isClosed) return;
    say("the connection was lost; trying again", true);
    setTimeout(() => this.isClosed || this.connect(), this.waitMs * (0.5 + Math.random()));
    this.waitMs = Math.min(5000, 2 * this.waitMs);
  }

  told(message) {
    if (message.type === "started") {
      if (this.media.getVideoTracks().length) this.showing = setInterval(() => this.show(), 1000 / message.pictures_per_s);
      this.begin(message.stream);
    } else if (message.type === "pong") {
      Object.assign(link, { rtt_ms: now() - message.sent_ms, drift_ppm: message.drift_ppm });
    } else {
      if (!this.started) this.name = ""; // another tab has it, say: come back with one of its own
      say(message.error.message, true);
    }
  }

  sayWhatIsBrought() {
    const kinds = this.media.getTracks().map(kindOf).join(" and ");
    const lacking = { "camera": "; no microphone", "microphone": "; no camera" }[kinds] ?? "";
    say(`your ${kinds}${lacking}`, false);
  }

  // Pictures: as many as the server wants, and none while the last ones are still on their way.
  show() {
    const video = at("own");
    if (!this.started || !video.videoWidth) return;
    if (this.socket.bufferedAmount > MOST_BUFFERED || this.isDrawing) {
      link.left_out += 1;
      return;
    }
    const capturedMs = now();
    this.canvas ??= document.createElement("canvas");
    const scale = Math.min(1, 640 / Math.max(video.videoWidth, video.videoHeight));
    this.canvas.width = Math.round(video.videoWidth * scale);
    this.canvas.height = Math.round(video.videoHeight * scale);
    this.canvas.getContext("2d").drawImage(video, 0, 0, this.canvas.width, this.canvas.height);
    this.isDrawing = true;
    this.canvas.toBlob(async (jpeg) => {
      this.isDrawing = false;
      if (jpeg) this.bring(PICTURE, capturedMs, new Uint8Array(await jpeg.arrayBuffer()));
    }, "image/jpeg", 0.8);
  }

  // Sound: counted by the browser's audio clock, every sample of it.
  async listen() {
    this.audio = new AudioContext({ sampleRate: RATE });
    await this.audio.audioWorklet.addModule("/worklet.js");
    const tap = new AudioWorkletNode(this.audio, "tap");
    this.audio.createMediaStreamSource(new MediaStream(this.media.getAudioTracks())).connect(tap);
    tap.port.onmessage = ({ data }) => this.hear(data);
    await this.audio.resume();
  }

  hear({ samples, endS, effective }) {
    this.interrupt(effective);
    this.noticeSilence(effective, samples.length / RATE);
    if (isSpeaking()) samples.fill(0); // it shall not hear itself
    this.sent?.getAudioTracks().forEach((track) => (track.enabled = !isSpeaking()));
    const { contextTime, performanceTime } = this.audio.getOutputTimestamp();
    const endedMs = performanceTime ? performance.timeOrigin + performanceTime + (endS - contextTime) * 1000 : now();
    if (this.started && this.socket) this.bring(SOUND, Math.min(endedMs, now()), new Uint8Array(samples.buffer));
  }

  interrupt(effective) {
    this.loud = effective > LOUD ? this.loud + 1 : 0;
    if (this.loud >= LOUD_BLOCKS) stopSpeaking();
  }

  noticeSilence(effective, lastsS) {
    const before = this.silentS;
    this.silentS = effective === 0 ? before + lastsS : 0;
    if (before < SILENT_S && this.silentS >= SILENT_S) say("nothing comes from the microphone; is it muted?", true);
    if (before >= SILENT_S && this.silentS === 0) this.sayWhatIsBrought();
  }

  bring(kind, capturedMs, bytes) {
    const frame = new Uint8Array(HEADER_BYTES + bytes.byteLength);
    const view = new DataView(frame.buffer);
    view.setUint8(0, kind);
    view.setFloat64(1, capturedMs, true);
    frame.set(bytes, HEADER_BYTES);
    this.send(frame);
  }

  send(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(frame);
  }

  close() {
    this.isClosed = true;
    clearInterval(this.pinging);
    clearInterval(this.showing);
    for (const track of [...this.media.getTracks(), ...(this.sent?.getTracks() ?? [])]) track.stop();
    this.audio?.close();
    this.socket?.close();
    this.peer?.close();
    at("own").srcObject = null;
  }
}

const kindOf = (track) => ({ video: "camera", audio: "microphone" })[track.kind];

function say(text, isWrong) {
  at("camera-state").textContent = text;
  at("camera-state").className = isWrong ? "wrong" : "";
}

// Both, or the one that there is; what was refused is said.
async function opened() {
  const audio = { echoCancellation: true, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
  const video = { width: { ideal: 640 }, height: { ideal: 480 } };
  let refused;
  for (const wanted of [{ audio, video }, { video }, { audio }]) {
    try {
      return await navigator.mediaDevices.getUserMedia(wanted);
    } catch (error) {
      refused ??= error;
      if (error.name === "NotFoundError") refused = error;
    }
  }
  throw refused;
}

const REASONS = {
  NotAllowedError: "the browser was not allowed to use a camera or a microphone; allow it beside the address, and press again",
  NotFoundError: "there is no camera and no microphone here; plug one in, and press again",
  NotReadableError: "the camera or the microphone is in use by another program; close that, and press again",
};

export async function start() {
  if (camera) return;
  if (!navigator.mediaDevices) return say("browsers give a camera to https:// and localhost alone; open this page there", true);
  say("asking the browser ...", false);
  try {
    camera = new Camera(await opened());
  } catch (error) {
    return say(REASONS[error.name] ?? error.message, true);
  }
  at("bring").ariaPressed = "true";
  at("bring").textContent = "Stop using them";
  await camera.open();
}

// Closes them; the stream waits for a while, and goes on where `start` comes again.
export function suspend() {
  camera?.close();
  camera = null;
  at("bring").ariaPressed = "false";
  at("bring").textContent = "Use my camera and microphone";
  at("own").hidden = true;
  say("", false);
}

function stop() {
  const { name } = camera;
  suspend();
  sessionStorage.removeItem(KEPT);
  brought.dispatchEvent(new CustomEvent("ended", { detail: name }));
}

// The stream that this browser brings, or brought; and whether the page is about it.
export const ownName = () => sessionStorage.getItem(KEPT) ?? "";
export const isOwn = () => chosen.stream !== "" && chosen.stream === ownName();

at("bring").addEventListener("click", () => (camera ? stop() : start()));
addEventListener("pagehide", suspend); // an abandoned tab gives back what it held
