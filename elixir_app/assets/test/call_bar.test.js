// The bar of a call whose room isn't the page on the screen.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { FakeElement, FakePage, install } from "./support/fakes.js";

const { showCallBar } = await (install(), import("../js/call_bar.js"));

class OneCall extends EventTarget {
  place = { room: "standup", path: "/rooms/standup?name=Ada" };
  room = { muted: false, participants: [{}], own: {} };
  status = "connected";
  problems = [];
}

let page;
let bar;

beforeEach(() => {
  install();
  page = new FakePage();
  bar = page.add("#call", new FakeElement());
  page.body.toggleAttribute("data-entering", true);
  showCallBar(new OneCall());
});

const loaded = (kind, to) => page.dispatchEvent(new CustomEvent("phx:page-loading-stop", { detail: { kind, to } }));

test("it is hidden on the way to the room's page, and there", () => {
  assert.equal(bar.hidden, true);
  // The page of the form, on its new socket.
  loaded("initial", "http://localhost/");
  assert.equal(bar.hidden, true);
  // The view is still to be drawn; once it is, its page takes the mark away, and has the focus then.
  loaded("redirect", "http://localhost/rooms/standup?name=Ada");
  assert.equal(bar.hidden, true);
  assert.equal(page.body.hasAttribute("data-entering"), true);
  page.add("#room[data-room]", new FakeElement({ room: "standup" }));
  loaded("initial", "http://localhost/rooms/standup?name=Ada");
  assert.equal(bar.hidden, true);
});

test("it is shown where another page came instead", () => {
  loaded("redirect", "http://localhost/about");
  assert.equal(bar.hidden, false);
  assert.equal(page.body.hasAttribute("data-entering"), false);
  assert.equal(page.body.hasAttribute("data-call"), true);
});

test("it is shown where the room's page has no place for the call", () => {
  loaded("redirect", "http://localhost/rooms/standup?name=Ada");
  loaded("initial", "http://localhost/rooms/standup?name=Ada");
  assert.equal(bar.hidden, false);
  assert.equal(page.body.hasAttribute("data-entering"), false);
});
