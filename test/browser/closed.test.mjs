// A closed room stays closed: a restart opens no room and no microphone.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";
import { exactly } from "./support/exactly.mjs";

const TONES = [500, 800, 1100];
let server, browser;
let people = [];
let rooms = 0;

before(async () => {
  [server, browser] = await together(Server.start("closed", { DRAIN_SECONDS: "1" }), openBrowser());
});

afterEach(async () => {
  await everybodyGoes(people);
  people = [];
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

async function arrive(name, tone) {
  // Counts how often the page asks for the microphone, and whether its track is open.
  const init = `{
    const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
    globalThis.microphones = [];
    if (ask) navigator.mediaDevices.getUserMedia = async (wish) => {
      const stream = await ask(wish);
      globalThis.microphones.push(...stream.getAudioTracks());
      return stream;
    };
  }`;
  const person = await Person.arrive(name, tone, { browser, init });
  people.push(person);
  return person;
}

/** Whether any microphone of the page gives more than silence. */
const open = (person) =>
  person.page.evaluate(() => globalThis.microphones.some((track) => track.enabled && track.readyState === "live"));

/** For whoever has to find out why one is open. */
const told = (person) =>
  person.page.evaluate(() => {
    const tracks = globalThis.microphones.map(({ enabled, readyState }) => `${enabled ? "enabled" : "shut"}, ${readyState}`);
    return `page of ${Math.round(performance.now())} ms by ${performance.getEntriesByType("navigation")[0]?.type}, microphones: ${tracks.join("; ")}`;
  });

const asked = (person) => person.page.evaluate(() => globalThis.microphones.length);

/** Ann makes a stage with a passcode; Bob enters with it, and is in the audience. */
async function stage() {
  const room = `stage ${(rooms += 1)}`;
  const [ann, bob] = [await arrive("Ann", TONES[0]), await arrive("Bob", TONES[1])];
  await ann.page.goto(`${server.url}/`);
  await ann.page.locator("[name=name]").fill("Ann");
  await ann.page.locator("[name=room]").fill(room);
  await ann.page.getByText("Create a room").click();
  await ann.page.locator("#passcode").fill("sesame");
  await ann.page.getByText("Stage.").click();
  await ann.page.getByRole("button", { name: "Create room" }).click();
  await ann.throughTheDoor();
  await ann.connected();
  await bob.join(server.url, room, { waitConnected: false });
  await bob.page.locator("#passcode").fill("sesame");
  await bob.page.getByRole("button", { name: "Join" }).click();
  await bob.throughTheDoor();
  await bob.connected();
  await bob.page.getByText("You're listening.").first().waitFor();
  await bob.hears([TONES[0]], TONES);
  await ann.hears([], TONES);
  return { room, ann, bob };
}

/** The server ends and starts again; what becomes of its memory meanwhile is up to `between`. */
async function restart(how, between = () => {}) {
  if (how === "SIGTERM") await server.terminate();
  else await server.kill();
  between();
  await server.boot();
}

for (const how of ["SIGTERM", "kill -9"]) {
  test(`${how}: the room comes back with its passcode, its stage and its moderator, and everybody muted`, async () => {
    const { room, ann, bob } = await stage();
    await restart(how);
    await Promise.all([ann.connected(40_000), bob.connected(40_000)]);
    assert.deepEqual([await open(ann), await open(bob)], [false, false]);
    await bob.hears([], TONES);
    await ann.hears([], TONES);

    const cat = await arrive("Cat", TONES[2]);
    await cat.join(server.url, room, { waitConnected: false });
    await cat.page.getByText("This room has a passcode.").waitFor();
    await exactly(ann.page.locator("[data-participant]"), 2);
    await bob.page.getByText("You're listening.").first().waitFor();
    await ann.participant("Bob").and(ann.page.locator('[data-role="listener"]')).waitFor();
    await ann.participant("Ann").getByText("Moderator").waitFor();
    assert.equal(await bob.participant("Bob").getByText("Moderator").count(), 0);

    for (const person of [ann, bob]) await person.page.getByText("The server restarted.").waitFor();
    await ann.microphone.click();
    await bob.hears([TONES[0]], TONES);
    await ann.hears([], TONES);
  });
}

for (const [what, between] of [
  ["gone", () => server.forget()],
  ["damaged", () => server.damage()],
]) {
  test(`kill -9, and what was remembered is ${what}: nobody is put into another room of that name, and no microphone opens`, async () => {
    const { room, ann, bob } = await stage();
    await restart("kill -9", between);
    for (const person of [ann, bob]) {
      await person.page.locator('[data-problem="room_ended"]').getByText("This room has ended.").waitFor({ timeout: 40_000 });
      if (await open(person)) assert.fail(`${person.name}: ${await told(person)}`);
    }
    // Somebody else may open a room of this name, as of any: it is another one, and empty.
    const cat = await arrive("Cat", TONES[2]);
    await cat.join(server.url, room);
    await exactly(cat.page.locator("[data-participant]"), 1);
    // A page that is loaded again goes on with the call that it was in, so not with this one.
    await bob.page.reload();
    await cat.hears([], TONES);
    await exactly(cat.page.locator("[data-participant]"), 1);
    const health = await (await fetch(`${server.url}/healthz`)).json();
    assert.equal(health.status, "ok");
    if (what === "damaged") assert.match(health.store, /damaged/);
    // A click opens that one.
    await ann.page.getByRole("button", { name: "Open a new room" }).click();
    await ann.throughTheDoor();
    await ann.connected();
    await cat.participant("Ann").waitFor();
  });
}

/** Asks for a room as a program does: with an offer that nobody answers to, so that only who may come in gets beyond its refusal. */
async function whip(room, token) {
  const response = await fetch(`${server.url}/whip/${encodeURIComponent(room)}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/sdp" },
    body: ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", ""].join("\r\n"),
  });
  return { status: response.status, ...(await response.json()) };
}

test("a third person finds the same lock after a restart by page, by channel and by WHIP", async () => {
  const { room, ann, bob } = await stage();
  // From the page of a room that isn't locked; a page's token says which passcode its browser knows.
  const cat = await arrive("Cat", TONES[2]);
  await cat.join(server.url, "elsewhere");
  await restart("kill -9");
  await Promise.all([ann, bob, cat].map((person) => person.connected(40_000)));
  const answer = await cat.page.evaluate(async (name) => {
    const csrf = document.querySelector('meta[name="csrf-token"]').getAttribute("content");
    const path = `/rooms/${encodeURIComponent(name)}/token?name=Cat`;
    const response = await fetch(path, { method: "POST", headers: { accept: "application/json", "x-csrf-token": csrf } });
    return { status: response.status, ...(await response.json()) };
  }, room);
  assert.deepEqual([answer.status, answer.reason], [403, "passcode_needed"]);
  // With a token of its own room, and another room's name.
  const token = await cat.page.locator("#room").getAttribute("data-token");
  assert.deepEqual((({ status, reason }) => [status, reason])(await whip(room, token)), [403, "wrong_room"]);
  const reason = await cat.page.evaluate(
    async ([name, jwt]) => {
      const socket = new WebSocket(`/voice/websocket?vsn=2.0.0&token=${encodeURIComponent(jwt)}`);
      await new Promise((resolve) => (socket.onopen = resolve));
      const said = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(JSON.parse(data)[4])));
      socket.send(JSON.stringify(["1", "1", `room:${name}`, "phx_join", {}]));
      const { response } = await said;
      socket.close();
      return response.reason;
    },
    [room, token],
  );
  assert.equal(reason, "wrong_room");
  await exactly(ann.page.locator("[data-participant]"), 2);
});

test("a stage's audience isn't asked for the microphone until they may speak and unmute", async () => {
  const { room, ann, bob } = await stage();
  assert.equal(await asked(bob), 0);
  await bob.page.getByRole("switch", { name: "Raise hand" }).click();
  await ann.about("Bob");
  await ann.page.getByRole("button", { name: "Invite to speak" }).click();
  await bob.page.locator('[data-problem="may_speak"]').getByText("You can speak now.").waitFor();
  assert.deepEqual([await asked(bob), await open(bob)], [0, false]);
  await ann.hears([], TONES);
  await bob.page.locator('[data-problem="may_speak"]').getByRole("button", { name: "Unmute" }).click();
  await ann.hears([TONES[1]], TONES);
  assert.deepEqual([await asked(bob), await open(bob)], [1, true]);
  await bob.page.locator('[data-problem="may_speak"]').waitFor({ state: "detached" });

  // Silenced and let speak again: that, too, is for Bob to act on.
  const silence = ann.page.getByRole("switch", { name: "Mute for everyone" });
  await silence.click();
  await ann.page.locator('#silence[aria-checked="true"]').waitFor();
  await silence.click();
  await bob.page.locator('[data-problem="may_speak"]').waitFor();
  assert.equal(await open(bob), false);
  await ann.hears([], TONES);

  // Ann's decisions about Bob, and his own settings, outlive the server; the third time his own word is all that's missing.
  await bob.about("Ann");
  await bob.setVolume(50);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await restart("kill -9");
  await Promise.all([ann.connected(40_000), bob.connected(40_000)]);
  await ann.participant("Bob").and(ann.page.locator('[data-role="speaker"]')).waitFor();
  await bob.participant("Ann").getByText("50 %").waitFor();
  await ann.hears([], TONES);
  await bob.microphone.click();
  await ann.hears([TONES[1]], TONES);
  assert.ok(room);
});

test("a closed room is opened again by its moderator, as it was, and by nobody else", async () => {
  const { room, ann, bob } = await stage();
  await ann.page.getByRole("button", { name: "Close room" }).click();
  await ann.page.locator("#close-room-really").click();
  for (const person of [ann, bob]) await person.page.getByText("The room was closed.").waitFor();
  assert.deepEqual([await open(ann), await open(bob)], [false, false]);
  assert.equal(await bob.page.getByRole("button", { name: "Open it again" }).count(), 0);
  // Nor by its address or its name.
  await bob.page.reload();
  await bob.page.getByText("The room was closed.").waitFor();
  const cat = await arrive("Cat", TONES[2]);
  await cat.join(server.url, room, { waitConnected: false });
  await cat.page.getByText("The room was closed.").waitFor();

  await ann.page.getByRole("button", { name: "Open it again" }).click();
  await ann.connected();
  await ann.participant("Ann").getByText("Moderator").waitFor();
  await cat.page.reload();
  await cat.page.getByText("This room has a passcode.").waitFor();
  await bob.page.reload();
  await bob.throughTheDoor();
  await bob.connected();
  await bob.page.getByText("You're listening.").first().waitFor();
});
