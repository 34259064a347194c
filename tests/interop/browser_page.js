// A page that is a phone and nothing else: what tests do is called from outside.
const phone = { socket: null, ready: null, messages: [], waiting: [], connection: null, heard: [], rate: 0, call: null };
window.phone = phone;

function take(message) {
  phone.messages.push(message);
  phone.waiting = phone.waiting.filter(({ test, done }) => !test(message) || done(message));
}

phone.next = (kind, already = true) =>
  new Promise((resolve, reject) => {
    const test = (message) => message.kind === kind;
    const found = already && phone.messages.find(test);
    if (found) return resolve(found);
    const timer = setTimeout(() => reject(new Error(`no ${kind}: ${JSON.stringify(phone.messages.slice(-3))}`)), 15000);
    phone.waiting.push({ test, done: (message) => (clearTimeout(timer), resolve(message), false) });
  });

phone.send = (message) => phone.socket.send(JSON.stringify(message));

phone.open = (known = {}) => {
  phone.socket = new WebSocket(`ws://${location.host}/console/api/phone`);
  phone.socket.onmessage = ({ data }) => take(JSON.parse(data));
  phone.socket.onopen = () => phone.send({ kind: "hello", name: "Ada", ...known });
  return phone.next("ready", false).then((ready) => (phone.ready = ready));
};

phone.offer = async (codecs, restart = false) => {
  if (!phone.connection) {
    const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: constraints });
    phone.connection = new RTCPeerConnection();
    phone.sender = phone.connection.addTrack(stream.getAudioTracks()[0], stream);
    phone.connection.ontrack = ({ track }) => phone.listen(new MediaStream([track]));
    const transceiver = phone.connection.getTransceivers()[0];
    const wanted = [...codecs, "audio/telephone-event"];
    const all = RTCRtpReceiver.getCapabilities("audio").codecs;
    transceiver.setCodecPreferences(wanted.flatMap((name) => all.filter((c) => c.mimeType.toLowerCase() === name)));
  }
  await phone.connection.setLocalDescription(await phone.connection.createOffer({ iceRestart: restart }));
  return phone.connection.localDescription.sdp;
};

phone.listen = (stream) => {
  const player = new Audio(); // without one the track of a connection gives no sound to the context
  player.srcObject = stream;
  player.muted = true;
  player.play();
  const context = new AudioContext({ sampleRate: 16000 });
  phone.rate = context.sampleRate;
  const tap = context.createScriptProcessor(1024, 1, 1);
  tap.onaudioprocess = ({ inputBuffer }) => phone.heard.push(inputBuffer.getChannelData(0).slice());
  context.createMediaStreamSource(stream).connect(tap).connect(context.destination);
};

phone.dial = async (to, codecs) => {
  phone.send({ kind: "dial", to, sdp: await phone.offer(codecs) });
  const placed = await phone.next("placed");
  phone.call = placed.call;
  const answer = await phone.next("answer");
  await phone.connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  return placed;
};

phone.accept = async (codecs) => {
  const invite = await phone.next("invite");
  phone.call = invite.call;
  phone.send({ kind: "accept", call: invite.call, sdp: await phone.offer(codecs) });
  const answer = await phone.next("answer");
  await phone.connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  return invite;
};

phone.pcm = () => {
  const all = new Float32Array(phone.heard.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of phone.heard) all.set(part, (at += part.length) - part.length);
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
};
