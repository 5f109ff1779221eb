// @ts-check
import { on } from "./events.js";
import { MediaLink } from "./media_link.js";
import { OwnMicrophone } from "./own_microphone.js";
import { PathWatch } from "./path_watch.js";
import { OwnState } from "./pending_state.js";
import { People } from "./people.js";
import { Playback } from "./playback.js";
import { Signalling, SignallingError } from "./signalling.js";
import { problem } from "./messages.js";

export { SignallingError };

/**
 * @typedef {import("./messages.js").Problem} Problem
 *
 * @typedef {object} Participant
 * @property {string} id    who it is, unique in the room
 * @property {string} name  what to call them
 * @property {boolean} muted
 * @property {boolean} speaking
 * @property {boolean} connected  whether sound flows to and from them just now
 * @property {boolean} [bot]       whether it is a program that speaks, and no person
 * @property {boolean} [deafened]
 * @property {boolean} [microphone]  false: they have none, or gave none to the page
 * @property {boolean} [hand]      whether they ask to speak
 * @property {boolean} [music]     whether they make music, see {@link VoiceRoom.setMusic}
 * @property {boolean} [auto_gain]  whether they are brought to the level of others
 * @property {boolean} [noise_suppression]  whether their noise is suppressed
 * @property {"speaker" | "listener"} [role]
 * @property {boolean} [moderator]
 * @property {boolean} [silenced]  muted by a moderator, which they can't undo
 *
 * @typedef {import("./pending_state.js").Own} Own
 *
 * @typedef {"new" | "connecting" | "connected" | "reconnecting" | "left" | "ended"} Status
 *
 * @typedef {object} Options
 * @property {string} room
 * @property {string} [token]     signed by the server for this room and name
 * @property {string} [session]   proves that I am the same one when I come back; the server makes one up where there is none
 * @property {string} [roomId]    of the room that I was in on a page before this one: I come back to that one only
 * @property {string} [socket]  path of the voice socket
 * @property {boolean} [longPoll]  whether long polling is offered there, for networks without WebSockets; so if not given
 * @property {boolean} [processing]  echo cancellation and the like on the microphone
 * @property {boolean} [autoGain]  whether I'm brought to the level of others; so if not given
 * @property {boolean} [noiseSuppression]  whether my noise is suppressed; as the room has it if not given
 * @property {boolean} [music]     whether I make music, see {@link VoiceRoom.setMusic}
 * @property {string} [microphone]   id of the microphone to take, if it is there
 * @property {string} [speaker]      id of the speaker to play on, if it is there
 * @property {Record<string, unknown>} [params]  more for the socket, where its server wants more than a token
 * @property {boolean} [goodbye]  whether the page says goodbye by HTTP when it goes, see {@link VoiceRoom.goodbye}
 * @property {() => Promise<string>} [renewToken]
 * @property {HTMLAudioElement} [audio]  what plays the room; one of our own if not given
 */

/**
 * A voice room as seen from one browser. Says what happens in events and keeps itself connected; shows nothing.
 *
 * | event | detail |
 * |---|---|
 * | `status` | {@link Status} |
 * | `participants` | `Participant[]`, whenever one of them changes |
 * | `joined`, `left` | a participant; only while watching, not for those who were there before |
 * | `speaking` | `{id, speaking}` |
 * | `levels` | `{[id]: dBov}`, 0 loudest … −127 silence |
 * | `own` | {@link Own}, whenever something of it changes, by me or by the server |
 * | `microphone` | the `MediaStreamTrack` in use, or null |
 * | `chat` | `{from, name, text, at}`: what somebody wrote, me included |
 * | `caption` | `{speaker, name, text, from, until}`: something that a person said, as text |
 * | `recording` | whether the room is recorded, when the server tells it: show it to the person |
 * | `transfer` | the name of another room, to which a moderator sends me |
 * | `answered` | null: an offer was answered, and the media connect |
 * | `inside` | what the server calls the room that I'm in from now on |
 * | `problem` | {@link Problem} |
 * | `solved` | code of a problem that is over |
 */
export class VoiceRoom extends EventTarget {
  /** @type {Options} */ #options;
  /** @type {Signalling | null} */ #signalling = null;
  /** @type {MediaLink | null} */ #link = null;
  /** @type {PathWatch | null} */ #pathWatch = null;
  #recording = false;
  /** Whether the path may be gone, which the signalling is connected anew for. */ #pathGone = false;
  /** @type {Playback} */ #playback;
  #people = new People();
  /** @type {Status} */ #status = "new";
  #me = "";
  /** @type {import("./floor_map.js").FloorPlanMap | null} */ #map = null;
  #session;
  #own = new OwnState();
  /** The room that I was in last, as the server calls it: I come back to it, and to no other of its name. */
  #roomId;
  /** The token for it, of the connection that I have now. */ #goodbye = "";
  /** Why nobody hears me; kept while the server doesn't say. @type {Own["held"]} */ #held = null;
  /** Whether nobody is to be asked for a microphone before they want that. */
  #listenOnly = false;
  /** Whether the microphone is to be asked for once the server has said whether I could use it. */
  #askWhenSeen = false;
  /** Whether the server has let me in. Before that, on a page that was loaded again say, it may be that it won't. */ #admitted = false;
  /** Whether the microphone was open before one was deafened, and is to be so again. */ #unmuteAfter = false;
  /** {@link Own}, as it was last told. */
  #shown = "";
  /** @type {OwnMicrophone} */ #microphone;
  /** The reason for waiting that the person was told last. */
  #waitingFor = "";

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#playback = new Playback(options.audio ?? new Audio());
    this.#session = options.session ?? "";
    this.#roomId = options.roomId ?? "";
    if (options.autoGain === false) this.#own.press("auto_gain", false);
    if (options.noiseSuppression !== undefined) this.#own.press("noise_suppression", options.noiseSuppression);
    if (options.music) this.#own.press("music", true);
    this.#shown = JSON.stringify(this.own);
    this.#microphone = new OwnMicrophone({ processing: options.processing ?? true, device: options.microphone ?? "" });
    on(this.#microphone, "track", (track) => {
      this.#link?.setTrack(track);
      this.#press("microphone", track !== null);
      this.#emit("microphone", track);
    });
    on(this.#microphone, "problem", () => this.#press("microphone", this.#microphone.track !== null));
    for (const part of [this.#microphone, this.#playback]) {
      for (const name of ["problem", "solved"]) on(part, name, (detail) => this.#emit(name, detail));
    }
    this.#microphone.setMusic(this.#own.get("music"));
    this.#openOrShut();
    if (options.speaker) this.useSpeaker(options.speaker);
  }

  get status() {
    return this.#status;
  }

  get muted() {
    return this.#own.get("muted");
  }

  /** @returns {Own} */
  get own() {
    return {
      muted: this.#own.get("muted"),
      deafened: this.#own.get("deafened"),
      hand: this.#own.get("hand"),
      autoGain: this.#own.get("auto_gain"),
      noiseSuppression: this.#own.get("noise_suppression"),
      music: this.#own.get("music"),
      held: this.#held,
    };
  }

  /** Whether the room is recorded, as the server has told last. */
  get recording() {
    return this.#recording;
  }

  /** The floor plan of the room and where people are on it; null where there is none. */
  get map() {
    return this.#map;
  }

  /**
   * A map that is drawn later begins with where people are by then.
   *
   * @param {Record<string, import("./floor_geometry.js").Point | null>} positions
   */
  #place(positions) {
    if (!this.#map) return;
    const known = this.#map.positions;
    for (const [id, at] of Object.entries(positions)) {
      if (at === null) delete known[id];
      else known[id] = at;
    }
  }

  /**
   * A step on the floor plan.
   *
   * @param {number} x
   * @param {number} y
   * @returns {Promise<{x: number, y: number, back: string | null}>} where I am now, and why the step wasn't taken
   */
  async walk(x, y) {
    if (!this.#signalling) throw new SignallingError("lost", "", true);
    return await this.#signalling.request("position", { x, y });
  }

  /** The server's name for the room that I'm in, or was in last; empty before. */
  get roomId() {
    return this.#roomId;
  }

  /** The token by which a page says goodbye by HTTP, if it asked for them; empty before the server has had it in. */
  get goodbye() {
    return this.#goodbye;
  }

  /** My microphone's track; null without one. */
  get microphone() {
    return this.#microphone.track;
  }

  get participants() {
    return this.#people.all;
  }

  /** My own id; empty before the first join. */
  get me() {
    return this.#me;
  }

  /** The element that plays the room. */
  get audio() {
    return this.#playback.audio;
  }

  /** @returns {Promise<RTCStatsReport | null>} what the browser counts of this connection */
  async stats() {
    return (await this.#link?.peerConnection?.getStats()) ?? null;
  }

  /** @returns {Promise<Record<string, any>>} what the server counts of it; rejects with a {@link SignallingError} */
  async serverStats() {
    return (await this.#signalling?.request("stats", {}))?.stats ?? {};
  }

  /** @param {"good" | "fair" | "poor"} quality  of my connection, for the others to see; rejects with a {@link SignallingError} */
  async setQuality(quality) {
    await this.#signalling?.request("set", { quality });
  }

  /**
   * Joins, and asks for the microphone; goes without one if need be. A person who may only listen isn't asked before they unmute.
   *
   * @param {{listenOnly?: boolean}} [options]  `listenOnly`: doesn't ask; {@link VoiceRoom.openMicrophone} may, later
   */
  join({ listenOnly = false } = {}) {
    if (this.#signalling) return;
    if (!MediaLink.supported) {
      this.#setStatus("ended");
      this.#emit("problem", problem("webrtc_unsupported"));
      return;
    }
    this.#setStatus("connecting");
    const link = new MediaLink({ exchange: (sdp) => this.#exchange(sdp) });
    const signalling = new Signalling({
      url: this.#options.socket ?? "/voice",
      room: this.#options.room,
      token: this.#options.token ?? "",
      socketParams: this.#options.params,
      longPoll: this.#options.longPoll ?? true,
      // Asked anew for each join: the first offer may have brought one.
      params: () => ({
        session: this.#session,
        ...(this.#roomId ? { room_id: this.#roomId } : {}),
        ...(this.#options.goodbye ? { goodbye: true } : {}),
      }),
      renew: this.#options.renewToken ?? null,
    });
    link.setMusic(this.#own.get("music"));
    this.#link = link;
    this.#signalling = signalling;
    this.#listenToLink(link);
    this.#listenToSignalling(signalling);
    this.#listenOnly = listenOnly;
    this.#askWhenSeen = !listenOnly;
    if (listenOnly) {
      this.#press("microphone", false);
      this.#emit("problem", problem("listening_only"));
    }
    this.#pathWatch = this.#watchPath(link, signalling);
    this.#pathWatch.start();
    signalling.start();
    link.prepare();
  }

  /**
   * @param {MediaLink} link
   * @param {Signalling} signalling
   */
  #watchPath(link, signalling) {
    return new PathWatch({
      connection: () => (link.connected ? link.peerConnection : null),
      expected: () => this.participants.some(({ id, speaking }) => speaking && id !== this.#me),
      ping: (ms) => signalling.answers(ms),
      sent: async () => (await this.serverStats()).packets_out ?? 0,
      restart: () => link.restart(),
      reconnect: () => {
        this.#pathGone = true;
        signalling.abandon();
      },
    });
  }

  /** Asks for the microphone (again). */
  async openMicrophone() {
    await this.#microphone.open();
  }

  /**
   * Takes another microphone, without a new offer and without a gap in what is heard.
   *
   * @param {string} id  as `enumerateDevices` gives it; empty: whichever the browser takes
   * @returns {Promise<import("./own_microphone.js").Outcome>}
   */
  async useMicrophone(id) {
    this.#microphone.choose(id);
    return this.#signalling ? await this.#microphone.open() : "failed";
  }

  /**
   * Plays the room on another speaker, where the browser allows that.
   *
   * @param {string} id  as `enumerateDevices` gives it; empty: whichever the browser takes
   */
  async useSpeaker(id) {
    await this.#playback.useSpeaker(id);
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.#unmuteAfter = false;
    this.#press("muted", muted);
    if (muted) return;
    // A person who talks wants to hear the answer.
    this.#press("deafened", false);
    this.#emit("solved", "restored");
    this.#emit("solved", "may_speak");
    if (!this.#listenOnly) this.#openIfNone();
  }

  /** As `setMuted(false)`, by somebody who was told that they may speak: that asks for the microphone, too, where there is none yet. */
  unmute() {
    this.#listenOnly = false;
    this.setMuted(false);
  }

  #openIfNone() {
    if (this.#signalling && !this.#over && this.#held === null && !this.#microphone.track) this.openMicrophone();
  }

  /**
   * Hears nothing until it is taken back, and is muted meanwhile: whoever hears nobody doesn't know that they are heard.
   *
   * @param {boolean} deafened
   */
  setDeafened(deafened) {
    if (deafened === this.#own.get("deafened")) return;
    const unmute = deafened ? !this.#own.get("muted") : this.#unmuteAfter;
    if (deafened) this.setMuted(true);
    else if (unmute && this.#held === null) this.setMuted(false);
    this.#press("deafened", deafened);
    this.#unmuteAfter = deafened && unmute;
  }

  /** @param {boolean} hand  ask to speak, or take it back */
  setHand(hand) {
    this.#press("hand", hand);
  }

  /** @param {boolean} on  whether I'm brought to the level of others, where the room does that */
  setAutoGain(on) {
    this.#press("auto_gain", on);
  }

  /** @param {boolean} on  whether my noise is suppressed, where the room can */
  setNoiseSuppression(on) {
    this.#press("noise_suppression", on);
  }

  /** Music is sent as the microphone takes it: unprocessed, in stereo, at 128 kbit/s. @param {boolean} on */
  setMusic(on) {
    this.#press("music", on);
  }

  /**
   * @param {import("./pending_state.js").Flag} flag
   * @param {boolean} value
   */
  #press(flag, value) {
    if (!this.#own.press(flag, value)) return;
    // Here first: whatever becomes of the message, nothing is sent or heard from now on.
    this.#ownChanged();
    this.#tell((one) => one === flag);
  }

  #ownChanged() {
    this.#openOrShut();
    this.#playback.mute(this.#own.get("deafened"));
    for (const sends of [this.#microphone, this.#link]) sends?.setMusic(this.#own.get("music"));
    const now = JSON.stringify(this.own);
    if (now === this.#shown) return;
    this.#shown = now;
    this.#emit("own", this.own);
  }

  /** The microphone is open only to who is heard: the rest needn't leave this computer. */
  #openOrShut() {
    const { muted, held } = this.own;
    this.#microphone.shut(muted || held !== null || !this.#admitted);
  }

  #letIn() {
    this.#admitted = true;
    this.#openOrShut();
  }

  /**
   * Why nobody hears me, as the server says. When that is over I may speak, and am muted until I press the button myself.
   *
   * @param {Own["held"]} held
   */
  #heldIs(held) {
    const free = this.#held !== null && held === null;
    this.#held = held;
    if (held !== null) this.#unmuteAfter = false;
    if (held !== null) this.#emit("solved", "may_speak");
    if (!free) return;
    if (this.#own.shut()) this.#tell((flag) => flag === "muted");
    this.#emit("problem", problem("may_speak"));
  }

  /**
   * Takes in the server's view of me, or of a part of it.
   *
   * @param {Partial<Participant> | undefined} me
   */
  #ownHeard(me) {
    if (!me) return;
    const known = this.#people.get(this.#me);
    if (known) this.#heldIs(heldOf(known));
    for (const flag of /** @type {const} */ (["muted", "deafened", "hand", "auto_gain", "noise_suppression", "music"])) {
      if (this.#own.heard(flag, me[flag]) === "tell") this.#tell((one) => one === flag);
    }
    this.#ownChanged();
  }

  /** Plays what autoplay held back; call it from a click. */
  async hear() {
    await this.#playback.hear();
  }

  /** Goes on playing on an element of its own, so that another room may have the one that this was given. */
  playApart() {
    this.#playback.playApart();
  }

  /** Leaves the room; another {@link VoiceRoom} may enter it again. */
  leave() {
    if (!this.#over) this.#end("left");
  }

  get #over() {
    return this.#status === "left" || this.#status === "ended";
  }

  /** @param {"left" | "ended"} status */
  #end(status) {
    this.#pathWatch?.stop();
    this.#signalling?.stop();
    this.#link?.close();
    this.#microphone.close();
    this.#playback.end();
    this.#waitingIsOver();
    this.#people.clear();
    this.#emit("participants", []);
    this.#setStatus(status);
  }

  /** @param {MediaLink} link */
  #listenToLink(link) {
    on(link, "connected", () => {
      this.#emit("solved", "media_unreachable");
      this.#waitingIsOver();
      if (this.#signalling?.joined) this.#setStatus("connected");
    });
    on(link, "answered", () => this.#emit("answered", null));
    on(link, "lost", () => {
      if (!this.#over) this.#setStatus("reconnecting");
    });
    on(link, "stream", (stream) => this.#playback.play(stream));
    on(link, "next", (stream) => this.#playback.prepare(stream));
    on(link, "slot", ({ slot, track, receiver }) => this.#playback.playSlot(slot, track, receiver));
    on(link, "unreachable", (error) => {
      // With words of the server's: it was reached, and answered that it can't just now.
      if (error instanceof SignallingError && error.message) this.#waiting(error);
      else this.#emit("problem", problem("media_unreachable"));
    });
    on(link, "refused", (error) => this.#refused(error));
  }

  /** @param {Signalling} signalling */
  #listenToSignalling(signalling) {
    on(signalling, "joined", (reply) => this.#signallingJoined(reply));
    on(signalling, "lost", () => {
      this.#link?.pause();
      // It has stopped: the status tells that we are looking for it.
      this.#emit("solved", "draining");
      this.#setStatus("reconnecting");
    });
    on(signalling, "waiting", (error) => this.#waiting(error));
    on(signalling, "refused", (error) => this.#refused(error));
    on(signalling, "participants", (diff) => this.#participantsChanged(diff));
    on(signalling, "levels", ({ levels }) => this.#emit("levels", levels));
    on(signalling, "speaking", ({ id, speaking }) => this.#speakingChanged(id, speaking));
    for (const name of ["chat", "caption"]) on(signalling, name, (detail) => this.#emit(name, detail));
    on(signalling, "slots", (word) => this.#playback.setSlots(word));
    on(signalling, "positions", (word) => {
      this.#place(word.positions);
      this.#emit("positions", word);
    });
    on(signalling, "recording", ({ on: recording }) => this.#tellRecording(recording === true));
    on(signalling, "media_restart", () => this.#link?.connect());
    on(signalling, "media_move", ({ step }) => (step === "end" ? this.#link?.changeOver() : this.#link?.move()));
    on(signalling, "transfer", ({ room }) => this.#emit("transfer", room));
    // It ends soon, and we come back by ourselves: the person needs only to know it.
    on(signalling, "draining", () => this.#emit("problem", problem("draining")));
    on(signalling, "closed", ({ reason, message }) => this.#refused(new SignallingError(reason, message, false)));
  }

  /** @param {boolean} recording */
  #tellRecording(recording) {
    this.#recording = recording;
    this.#emit("recording", recording);
  }

  /** @param {any} reply */
  #signallingJoined(reply) {
    this.#me = reply.you;
    this.#goodbye = typeof reply.goodbye === "string" ? reply.goodbye : "";
    this.#announce(this.#people.reset(reply.participants));
    this.#waitingIsOver();
    // A path that died told of no end.
    this.#emit("solved", "draining");
    // The room that I'm about to enter; the one that I was in counts until I'm in again.
    if (!this.#roomId && typeof reply.room_id === "string") this.#nowIn(reply.room_id);
    if (this.#people.get(this.#me)) this.#ownHeard(this.#people.get(this.#me));
    else this.#notIn(reply);
    this.#map = reply.map ?? null;
    this.#emit("map", this.#map);
    this.#tellRecording(reply.recording === true);
    this.#tellParticipants();
    this.#link?.setIceServers(reply.config?.ice_servers ?? []);
    this.#link?.setKind(reply.config ?? {});
    this.#playback.setStereo(reply.config?.stereo === true);
    const gone = this.#pathGone && this.#pathWatch?.isSilent === true;
    if (reply.resumed) {
      this.#letIn();
      this.#link?.resume({ gone, moving: reply.moving === true });
      this.#tell((flag) => this.#own.untold(flag));
    } else if (reply.moving) {
      this.#link?.rejoin({ gone });
    } else {
      this.#link?.connect();
    }
    this.#pathGone = false;
    if (this.#link?.connected) this.#setStatus("connected");
    // The room's list is shown while the person still answers the browser's question.
    if (this.#askWhenSeen) this.#openIfNone();
    this.#askWhenSeen = false;
  }

  /**
   * I'm on my way in: what I'll be there, before anything of mine is sent.
   *
   * @param {any} reply
   */
  #notIn({ held = null, restored = false }) {
    // Nobody told me yet that I may speak: that comes when I'm in.
    if (held !== null || this.#held === null) this.#held = held;
    if (restored) this.#restored();
    this.#ownChanged();
  }

  /** The room was lost, and is there again; with whom, nobody knows. So nobody's voice goes into it unasked. */
  #restored() {
    this.#own.shut();
    this.#emit("problem", problem(this.#held === null ? "restored" : "restored_listening"));
  }

  /** @param {{joined: Participant[], left: Participant[]}} news */
  #announce({ joined, left }) {
    for (const person of left) if (person.id !== this.#me) this.#emit("left", person);
    for (const person of joined) if (person.id !== this.#me) this.#emit("joined", person);
  }

  /** @param {import("./people.js").Diff} diff */
  #participantsChanged(diff) {
    this.#announce(this.#people.apply(diff));
    for (const news of [...(diff.joined ?? []), ...(diff.changed ?? [])]) if (news.id === this.#me) this.#ownHeard(news);
    this.#tellParticipants();
  }

  #tellParticipants() {
    if (this.participants.some(({ id, music }) => music && id !== this.#me)) this.#link?.hearMusic();
    this.#emit("participants", this.participants);
  }

  /**
   * @param {string} id
   * @param {boolean} speaking
   */
  #speakingChanged(id, speaking) {
    if (this.#people.change(id, { speaking })) this.#emit("speaking", { id, speaking });
  }

  /** @param {string} sdp */
  async #exchange(sdp) {
    if (!this.#signalling) throw new SignallingError("lost", "", true);
    // Only what was pressed since opens the microphone again: the server may have shut it. That it is shut can always be said,
    // and has to be where the room is a new one, which remembers nothing.
    const report = this.#own.report((flag) => flag === "muted" && this.#own.due(flag));
    const reply = await this.#signalling.request("offer", { sdp, ...report.values });
    report.told();
    if (reply.session) this.#session = reply.session;
    this.#nowIn(reply.room_id);
    const open = !this.#own.get("muted");
    this.#ownHeard({ muted: reply.muted });
    this.#letIn();
    // Shut by the server, where I wasn't looking.
    if (open && this.#own.get("muted") && this.#held === null) this.#emit("problem", problem("may_speak"));
    this.#tell((flag) => flag !== "muted" && this.#own.due(flag));
    return reply.sdp;
  }

  /** @param {unknown} roomId */
  #nowIn(roomId) {
    if (typeof roomId !== "string" || roomId === this.#roomId) return;
    // The same room in another life: its processes were lost while the socket stayed.
    if (this.#roomId && !this.#own.get("muted")) this.#restored();
    this.#roomId = roomId;
    this.#emit("inside", roomId);
  }

  /** @param {(flag: import("./pending_state.js").Flag) => boolean} which */
  async #tell(which) {
    const { values, told } = this.#own.report(which);
    if (!this.#signalling || Object.keys(values).length === 0) return;
    try {
      await this.#signalling.request("set", values);
      told();
    } catch {
      // Not lost: the next offer or resumption says it again.
    }
  }

  /**
   * The server can't have us yet; we go on asking.
   *
   * @param {SignallingError} error
   */
  #waiting(error) {
    const words = problem("server_not_ready");
    const title = error.message || words.title;
    // Not again with every try: screen readers read it out.
    if (title === this.#waitingFor) return;
    this.#waitingFor = title;
    this.#emit("problem", { ...words, title });
  }

  #waitingIsOver() {
    if (!this.#waitingFor) return;
    this.#waitingFor = "";
    this.#emit("solved", "server_not_ready");
  }

  /** @param {SignallingError} error */
  #refused(error) {
    if (this.#over) return;
    this.#end("ended");
    this.#emit("problem", problem(error.reason, error.message));
  }

  /** @param {Status} status */
  #setStatus(status) {
    if (this.#status === status) return;
    this.#status = status;
    this.#emit("status", status);
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * @param {Participant} me
 * @returns {Own["held"]}
 */
function heldOf(me) {
  return me.silenced ? "silenced" : me.role === "listener" ? "listener" : null;
}
