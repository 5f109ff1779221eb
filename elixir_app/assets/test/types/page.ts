// A page in TypeScript that uses the client by its declarations, and what they refuse.
import { hooks } from "../../types/hooks.js";
import { VoiceRoom } from "../../types/voice_room.js";
import type { Participant, Status } from "../../types/voice_room.js";
import { VoiceRoomElement } from "../../types/voice_room_element.js";

const room = new VoiceRoom({ room: "standup", token: "…", renewToken: async () => "…" });
room.addEventListener("participants", () => draw(room.participants));
room.join();
room.setMuted(!room.muted);
room.leave();

function draw(people: Participant[]): string[] {
  return people.filter((person) => person.speaking).map((person) => person.name);
}

const status: Status = room.status;
const element: HTMLElement = new VoiceRoomElement();
const names: string[] = Object.keys(hooks);
console.log(status, element, names);

// @ts-expect-error: a room has a name
new VoiceRoom({});
// @ts-expect-error: muted is true or false
room.setMuted("yes");
// @ts-expect-error: there is no such status
const wrong: Status = "asleep";
console.log(wrong);
