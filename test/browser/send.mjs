// Chromium as a sender for the weather bench (native/roomtone-load/examples/weather), which starts this to learn what an answer makes it
// send: offers as the page does, redundant Opus before all else. Not a test. It talks by lines of JSON:
//
//   in: {"offers": 2}                 out: {"offers": ["v=0…", …]}
//   in: {"answers": ["v=0…", …]}      out: {"codecs": [[{"mimeType": "audio/red", "sdpFmtpLine": "111/111"}, …], …]}
//   in: {"stop": true}
//
// After the answers it sends a tone over each connection that its peer establishes.
import { createInterface } from "node:readline";
import { openBrowser } from "./support/person.mjs";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const hear = async () => JSON.parse((await lines.next()).value);
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** In the page: connections that send a tone, and their offers. */
async function offer(count) {
  const context = new AudioContext();
  const tone = new OscillatorNode(context);
  const output = new MediaStreamAudioDestinationNode(context);
  tone.connect(output);
  tone.start();
  globalThis.connections = [];
  for (let i = 0; i < count; i += 1) {
    const connection = new RTCPeerConnection();
    const transceiver = connection.addTransceiver(output.stream.getAudioTracks()[0]);
    const { codecs } = RTCRtpReceiver.getCapabilities("audio");
    const isRed = ({ mimeType }) => mimeType.toLowerCase() === "audio/red";
    transceiver.setCodecPreferences([...codecs.filter(isRed), ...codecs.filter((codec) => !isRed(codec))]);
    await connection.setLocalDescription();
    globalThis.connections.push({ connection, sender: transceiver.sender });
  }
  return globalThis.connections.map(({ connection }) => connection.localDescription.sdp);
}

/** In the page: takes the answers; of each connection the codecs that were agreed on, the one that is sent first. */
async function answer(answers) {
  const agreed = [];
  for (const [i, { connection, sender }] of globalThis.connections.entries()) {
    await connection.setRemoteDescription({ type: "answer", sdp: answers[i] });
    agreed.push(sender.getParameters().codecs.map(({ mimeType, sdpFmtpLine = "" }) => ({ mimeType, sdpFmtpLine })));
  }
  return agreed;
}

const browser = await openBrowser(["--allow-loopback-in-peer-connection"]);
try {
  const page = await (await browser.newContext()).newPage();
  await page.route("https://weather.test/", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>Weather</title>" }));
  await page.goto("https://weather.test/");
  say({ offers: await page.evaluate(offer, (await hear()).offers) });
  say({ codecs: await page.evaluate(answer, (await hear()).answers) });
  await hear();
} finally {
  await browser.close();
}
