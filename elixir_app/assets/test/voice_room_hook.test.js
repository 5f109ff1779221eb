// The room that draws itself in somebody else's page: what it tells those who look at it.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connections, FakeElement, FakePage, FakeWebSocket, install, settle, sockets } from "./support/fakes.js";

const { Widget } = await (install(), import("../js/voice_room_hook.js"));

/** An element with others in it. */
class FakeParent extends FakeElement {
  children = [];
  style = { setProperty() {} };

  replaceChildren(...children) {
    this.children = children;
  }

  append(...children) {
    this.children.push(...children);
  }

  querySelectorAll() {
    return [];
  }

  async play() {}

  focus() {}

  /** The child of this class. */
  part(className) {
    return this.children.find((child) => child.className === className);
  }
}

const BELL = { id: "bell", name: "Bell", bot: true, muted: false, speaking: false, connected: true };
let element, widget, reply;

beforeEach(async () => {
  install();
  reply = { you: "Ada", participants: [BELL], config: {} };
  FakeWebSocket.reply = (event) => {
    if (event === "phx_join") return ["ok", reply];
    return ["ok", event === "offer" ? { sdp: "v=0 answer", session: "s", muted: false } : {}];
  };
  new FakePage();
  document.createElement = () => new FakeParent();
  element = new FakeParent({ room: "standup", join: "" });
  element.setAttribute("data-join", "");
});

afterEach(() => widget.destroy());

async function enter() {
  widget = new Widget(element);
  await settle();
  connections[0].becomes("connected");
  await settle();
}

const shown = () => element.part("voice-room-recording").textContent;

test("a recording is shown while it runs, to those who come later, too", async () => {
  reply.recording = true;
  await enter();
  assert.equal(shown(), "Recording");
  assert.equal(element.part("voice-room-recording").getAttribute("role"), "status");
  sockets[0].push("recording", { on: false });
  assert.equal(shown(), "");
  sockets[0].push("recording", { on: true });
  assert.equal(shown(), "Recording");
});

test("a recording of the call before isn't shown in the next one", async () => {
  reply.recording = true;
  await enter();
  assert.equal(shown(), "Recording");
  reply.recording = false;
  element.part("voice-room-controls").part("voice-room-leave").dispatchEvent(new Event("click"));
  element.part("voice-room-controls").part("voice-room-join").dispatchEvent(new Event("click"));
  assert.equal(shown(), "");
  await settle();
  assert.equal(shown(), "");
});

test("a bot is shown as one", async () => {
  await enter();
  const [row] = element.part("voice-room-people").children;
  assert.equal(row.textContent, "Bell, bot");
});
