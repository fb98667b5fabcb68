// This browser's camera and microphone, brought to the server over WebRTC. It knows no page: who calls it has asked for the
// devices, shows what happens, and decides whether to come again. Nobody but the server is asked.

const BEAT_MS = 1000; // the server takes five seconds without one for the end
const QUIET_MS = 5000; // and so is it here
const GATHER_MS = 2000; // for this computer's own addresses
const PICTURES_PER_S = 15; // the server looks at fewer, and sees each one when the next comes

// `wanted`: the stream to go on with, and the page's own number, by which it is known again. What `onState` is told: "connecting",
// "connected", and at last "closed", once.
export async function connectByWebRtc(mediaStream, wanted, onState = () => {}) {
  const peer = new RTCPeerConnection({ iceServers: [] });
  const channel = peer.createDataChannel("alive");
  let heardMs = performance.now();
  let beating = null;
  let isClosed = false;

  const close = () => {
    if (isClosed) return;
    isClosed = true;
    clearInterval(beating);
    removeEventListener("pagehide", close);
    peer.close();
    onState("closed");
  };
  const beat = () => {
    if (performance.now() - heardMs > QUIET_MS) close();
    else channel.send("ping");
  };
  channel.onopen = () => {
    heardMs = performance.now();
    beat();
    beating = setInterval(beat, BEAT_MS); // also of a hidden page: browsers do not slow one down that has such a channel
    onState("connected");
  };
  channel.onmessage = () => (heardMs = performance.now());
  channel.onclose = close;
  peer.onconnectionstatechange = () => peer.connectionState === "failed" && close();
  addEventListener("pagehide", close);

  onState("connecting");
  try {
    for (const track of mediaStream.getTracks()) peer.addTrack(track, mediaStream);
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const answer = await offered(peer.localDescription.sdp, wanted);
    await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    await restrain(peer);
    return { stream: answer.stream, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function offered(sdp, wanted) {
  const answer = await fetch("/v1/webrtc", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ sdp, type: "offer", ...wanted }),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error.message);
  return told;
}

// The offer goes out in one piece, with every address in it.
function gathered(peer) {
  return new Promise((resolve) => {
    const look = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", look);
    setTimeout(resolve, GATHER_MS);
    look();
  });
}

// Fewer pictures rather than smaller ones.
async function restrain(peer) {
  for (const sender of peer.getSenders()) {
    if (sender.track?.kind !== "video") continue;
    const parameters = sender.getParameters();
    parameters.degradationPreference = "maintain-resolution";
    for (const encoding of parameters.encodings) encoding.maxFramerate = PICTURES_PER_S;
    await sender.setParameters(parameters);
  }
}
