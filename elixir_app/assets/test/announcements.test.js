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
