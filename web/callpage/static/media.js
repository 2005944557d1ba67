// Sends and receives media by one HTTP exchange each: WHIP (RFC 9725) and
// WHEP. No document: an endpoint and tracks in, a connection out.

// How long candidates are gathered before the offer is sent with what there is.
const GATHER_MS = 1000;

// Refused is an answer that is no answer: what the server said and why.
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

async function reasonOf(response) {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    return body.detail || body.message || response.statusText;
  } catch {
    return text.trim() || response.statusText;
  }
}

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    pc.addEventListener("icegatheringstatechange", () => {
      if (pc.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

// exchange offers what pc has, and returns the session's URL.
async function exchange(pc, endpoint, token) {
  await pc.setLocalDescription(await pc.createOffer());
  await gathered(pc);
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${token}` },
    body: pc.localDescription.sdp,
  });
  if (response.status !== 201) throw new Refused(response.status, await reasonOf(response));
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  const location = response.headers.get("Location");
  return location ? new URL(location, new URL(endpoint, globalThis.location?.href)).href : "";
}

// prefer puts a codec first and leaves out the other ones, but keeps what
// repairs losses.
export function prefer(codecs, name) {
  const wanted = `video/${name}`.toLowerCase();
  const first = codecs.filter((c) => c.mimeType.toLowerCase() === wanted);
  if (first.length === 0) return null;
  const repair = codecs.filter((c) => /\/(rtx|red|ulpfec|flexfec-03)$/i.test(c.mimeType));
  return [...first, ...repair];
}

const SIMULCAST = [
  { rid: "q", scaleResolutionDownBy: 4 },
  { rid: "h", scaleResolutionDownBy: 2 },
  { rid: "f" },
];

// Session is one connection and its URL on the server.
class Session {
  constructor(token) {
    this.token = token;
    this.url = "";
    this.pc = new RTCPeerConnection();
  }

  onState(changed) {
    this.pc.addEventListener("connectionstatechange", () => changed(this.pc.connectionState));
  }

  // close ends both sides. It does not wait for the server, and the page may
  // be going away.
  close() {
    this.pc.close();
    if (!this.url) return;
    fetch(this.url, { method: "DELETE", headers: { Authorization: `Bearer ${this.token}` }, keepalive: true }).catch(() => {});
    this.url = "";
  }

  async open(endpoint) {
    try {
      this.url = await exchange(this.pc, endpoint, this.token);
    } catch (err) {
      this.close();
      throw err;
    }
    return this;
  }
}

// publish sends a stream. options: codec, simulcast.
export async function publish(endpoint, token, stream, options = {}, onState = () => {}) {
  const session = new Session(token);
  session.onState(onState);
  for (const track of stream.getTracks()) {
    const init = { direction: "sendonly", streams: [stream] };
    if (track.kind === "video" && options.simulcast) init.sendEncodings = SIMULCAST;
    const transceiver = session.pc.addTransceiver(track, init);
    if (track.kind !== "video" || !options.codec) continue;
    const codecs = prefer(RTCRtpSender.getCapabilities("video").codecs, options.codec);
    if (!codecs) {
      session.close();
      throw new Error(`this browser cannot send ${options.codec}`);
    }
    transceiver.setCodecPreferences(codecs);
  }
  return session.open(endpoint);
}

// watch receives one participant; onTrack is called with every track.
export async function watch(endpoint, token, onTrack, onState = () => {}) {
  const session = new Session(token);
  session.onState(onState);
  session.pc.addEventListener("track", (e) => onTrack(e.track));
  session.pc.addTransceiver("video", { direction: "recvonly" });
  session.pc.addTransceiver("audio", { direction: "recvonly" });
  return session.open(endpoint);
}
