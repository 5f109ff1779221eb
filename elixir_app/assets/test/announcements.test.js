// Announcements of a call, each made once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { announceCall } from "../js/announcements.js";

test("who comes, goes and raises a hand is said once", () => {
  const call = new EventTarget();
  call.room = { me: "ada" };
  const said = [];
  announceCall(call, (text) => said.push(text));
  const tell = (name, detail) => call.dispatchEvent(new CustomEvent(name, { detail }));
  const people = (...hands) => ["ada", "ben", "cleo"].map((id) => ({ id, name: id, hand: hands.includes(id) }));

  tell("joined", { name: "ben" });
  tell("participants", people());
  tell("participants", people("ben", "ada"));
  tell("participants", people("ben", "ada"));
  tell("participants", people("cleo"));
  tell("participants", people("cleo", "ben"));
  tell("left", { name: "ben" });
  assert.deepEqual(said, ["ben joined.", "ben raised their hand.", "cleo raised their hand.", "ben raised their hand.", "ben left."]);
});

test("a person to whom the moderation is handed on is told, and the maker of a room isn't", () => {
  const call = new EventTarget();
  call.room = { me: "ada" };
  const said = [];
  announceCall(call, (text) => said.push(text));
  const people = (moderator) => call.dispatchEvent(new CustomEvent("participants", { detail: [{ id: "ada", name: "ada", moderator }] }));
  people(true);
  assert.deepEqual(said, []);
  people(false);
  for (const _again of [1, 2]) people(true);
  assert.deepEqual(said, ["You're a moderator now."]);
});

test("a recording is heard when it begins and when it ends, and on coming into a recorded room", () => {
  const call = new EventTarget();
  const rung = [];
  announceCall(call, () => {}, (sound) => rung.push(sound));
  const tell = (recording) => call.dispatchEvent(new CustomEvent("recording", { detail: recording }));

  // The answer to each join tells it anew.
  for (const recording of [false, true, true, false, false, true]) tell(recording);
  assert.deepEqual(rung, ["recording", "recorded", "recording"]);
  // In another room, nothing has ended.
  call.dispatchEvent(new CustomEvent("place"));
  tell(false);
  assert.equal(rung.length, 3);
});
