// The form that leads into a room, sent by a script.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { FakeElement, FakePage, install, settle } from "./support/fakes.js";

const { listenToForm } = await (install(), import("../js/enter_form.js"));
const { listenForAsking, takeAsked } = await import("../js/join_consent.js");

const PATH = "/rooms/standup?name=Ada";
const PLACE = { room: "standup", name: "Ada", token: "t", session: "s", socket: "/voice", token_url: "/t", goodbye_url: "/g", audience: false };

/** A form that counts how often it is sent as a form. */
class FakeForm extends FakeElement {
  id = "enter";
  action = "http://localhost/rooms";
  sent = 0;

  submit(submitter = null) {
    const event = Object.assign(new Event("submit", { cancelable: true }), { submitter });
    Object.defineProperty(event, "target", { value: this });
    page.dispatchEvent(event);
    if (!event.defaultPrevented) this.sent += 1;
  }

  requestSubmit(submitter) {
    if (submitter?.isConnected === false) throw new DOMException("not a button of this form", "NotFoundError");
    this.submit(submitter);
  }
}

/** The views' socket, which opens anew at once. */
const socket = {
  channels: [],
  connectionState: () => "open",
  off() {},
  onOpen(opened) {
    this.opened = opened;
  },
  disconnect: (done) => done(),
  connect() {
    this.opened();
  },
};

let page;
let form;
/** The requests, each with what answers it. */
let requests;
let joined;
/** Whether the call's offer is answered. @type {Promise<void>} */
let called;
let visited;

beforeEach(() => {
  install();
  page = new FakePage();
  const globals = {
    HTMLFormElement: FakeForm,
    FormData: class extends Map {
      constructor() {
        super([["room", "standup"]]);
      }
    },
    fetch: (_address, options) => new Promise((answer, fail) => requests.push({ options, answer, fail })),
  };
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  globalThis.location.href = "http://localhost/";
  [requests, joined, visited] = [[], [], []];
  called = Promise.resolve();
  form = new FakeForm();
  listenForAsking();
  listenToForm({ free: () => true, socket, join: (place) => (joined.push(place.path), called), navigate: (path) => visited.push(path) });
});

/** @param {object} json */
async function answers(json) {
  requests.at(-1).answer({ ok: true, json: async () => json });
  await settle();
}

test("the call begins with the answer, and the room's page follows", async () => {
  form.submit();
  await answers({ path: PATH, place: PLACE });
  assert.deepEqual([joined, visited, form.sent], [[PATH], [PATH], 0]);
});

test("the room's page waits for the call's answer, but not for long", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    let answer;
    called = new Promise((resolve) => (answer = resolve));
    form.submit();
    await answers({ path: PATH, place: PLACE });
    assert.deepEqual([joined, visited, form.getAttribute("aria-busy")], [[PATH], [], "true"]);
    answer();
    await settle();
    assert.deepEqual([visited, form.hasAttribute("aria-busy")], [[PATH], false]);

    called = new Promise(() => {});
    form.submit();
    await answers({ path: PATH, place: PLACE });
    mock.timers.tick(299);
    await settle();
    assert.equal(visited.length, 1);
    mock.timers.tick(1);
    await settle();
    assert.equal(visited.length, 2);
  } finally {
    mock.timers.reset();
  }
});

test("a person who goes elsewhere while the call's offer is answered stays there", async () => {
  let answer;
  called = new Promise((resolve) => (answer = resolve));
  form.submit();
  await answers({ path: PATH, place: PLACE });
  form.isConnected = false;
  answer();
  await settle();
  assert.deepEqual([joined, visited, form.sent], [[PATH], [], 0]);
});

test("the view that is left isn't joined again by the socket that is opened anew", async () => {
  const left = [];
  const opened = [];
  const usual = { ...socket };
  Object.assign(socket, { channels: [{ leave: () => left.push("lobby") }], connect: () => (opened.push([...left]), socket.opened()) });
  try {
    form.submit();
    await answers({ path: PATH, place: PLACE });
  } finally {
    Object.assign(socket, usual);
  }
  assert.deepEqual(opened, [["lobby"]]);
});

test("the form is busy while the server is asked, and isn't sent twice", async () => {
  form.submit();
  form.submit();
  assert.equal(form.getAttribute("aria-busy"), "true");
  assert.equal(requests.length, 1);
  await answers({ path: PATH, place: null });
  assert.equal(form.hasAttribute("aria-busy"), false);
  form.submit();
  assert.equal(requests.length, 2);
});

test("a server that doesn't answer in time gets the form as a form", async () => {
  const { timeout } = AbortSignal;
  const end = new AbortController();
  AbortSignal.timeout = (ms) => (assert.equal(ms, 10_000), end.signal);
  try {
    form.submit();
    const [{ options, fail }] = requests;
    options.signal.addEventListener("abort", () => fail(options.signal.reason));
    end.abort();
    await settle();
  } finally {
    AbortSignal.timeout = timeout;
  }
  assert.equal(form.sent, 1);
  assert.equal(form.hasAttribute("aria-busy"), false);
  // Once more, by the script again.
  form.submit();
  assert.equal(requests.length, 2);
});

test("an answer that comes when the person is on another page is dropped", async () => {
  for (const answer of [{ path: PATH, place: PLACE }, { path: null, place: null }]) {
    form.submit();
    form.isConnected = false;
    await answers(answer);
    assert.deepEqual([joined, visited, form.sent], [[], [], 0]);
    form.isConnected = true;
  }
});

test("a form whose button has gone meanwhile is still sent as a form", async () => {
  const button = new FakeElement();
  form.submit(button);
  button.isConnected = false;
  await answers({ path: null, place: null });
  assert.equal(form.sent, 1);
});

test("a browser that can't make a connection still sends the form", async () => {
  Object.defineProperty(globalThis, "RTCPeerConnection", {
    value: function () {
      throw new DOMException("too many", "UnknownError");
    },
    configurable: true,
    writable: true,
  });
  form.submit();
  await answers({ path: PATH, place: null });
  assert.deepEqual(visited, [PATH]);
});

test("the wish to join is for the room of the answer alone", async () => {
  for (const [opens, allowed] of [["/rooms/standup", true], ["/rooms/kitchen", false]]) {
    form.submit();
    await answers({ path: PATH, place: null });
    assert.equal(takeAsked(opens), allowed);
  }
});

test("no room is joined before the answer, or without one", async () => {
  form.submit();
  form.submit();
  assert.equal(takeAsked("/rooms/kitchen"), false);
  form.isConnected = false;
  await answers({ path: PATH, place: PLACE });
  assert.equal(takeAsked("/rooms/standup"), false);
});

test("the wish to join goes with a form that is sent as a form", async () => {
  form.submit();
  await answers({ path: null, place: null });
  assert.equal(takeAsked("/rooms/standup"), true);
});
