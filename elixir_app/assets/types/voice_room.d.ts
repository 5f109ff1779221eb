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
    /** @param {Options} options */
    constructor(options: Options);
    get status(): Status;
    get muted(): boolean;
    /** @returns {Own} */
    get own(): Own;
    /** Whether the room is recorded, as the server has told last. */
    get recording(): boolean;
    /** The floor plan of the room and where people are on it; null where there is none. */
    get map(): import("./floor_map.js").FloorPlanMap | null;
    /**
     * A step on the floor plan.
     *
     * @param {number} x
     * @param {number} y
     * @returns {Promise<{x: number, y: number, back: string | null}>} where I am now, and why the step wasn't taken
     */
    walk(x: number, y: number): Promise<{
        x: number;
        y: number;
        back: string | null;
    }>;
    /** The server's name for the room that I'm in, or was in last; empty before. */
    get roomId(): string;
    /** The token by which a page says goodbye by HTTP, if it asked for them; empty before the server has had it in. */
    get goodbye(): string;
    /** My microphone's track; null without one. */
    get microphone(): MediaStreamTrack | null;
    get participants(): Participant[];
    /** My own id; empty before the first join. */
    get me(): string;
    /** The element that plays the room. */
    get audio(): HTMLAudioElement;
    /** @returns {Promise<RTCStatsReport | null>} what the browser counts of this connection */
    stats(): Promise<RTCStatsReport | null>;
    /** @returns {Promise<Record<string, any>>} what the server counts of it; rejects with a {@link SignallingError} */
    serverStats(): Promise<Record<string, any>>;
    /** @param {"good" | "fair" | "poor"} quality  of my connection, for the others to see; rejects with a {@link SignallingError} */
    setQuality(quality: "good" | "fair" | "poor"): Promise<void>;
    /**
     * Joins, and asks for the microphone; goes without one if need be. A person who may only listen isn't asked before they unmute.
     *
     * @param {{listenOnly?: boolean}} [options]  `listenOnly`: doesn't ask; {@link VoiceRoom.openMicrophone} may, later
     */
    join({ listenOnly }?: {
        listenOnly?: boolean;
    }): void;
    /** Asks for the microphone (again). */
    openMicrophone(): Promise<void>;
    /**
     * Takes another microphone, without a new offer and without a gap in what is heard.
     *
     * @param {string} id  as `enumerateDevices` gives it; empty: whichever the browser takes
     * @returns {Promise<import("./own_microphone.js").Outcome>}
     */
    useMicrophone(id: string): Promise<import("./own_microphone.js").Outcome>;
    /**
     * Plays the room on another speaker, where the browser allows that.
     *
     * @param {string} id  as `enumerateDevices` gives it; empty: whichever the browser takes
     */
    useSpeaker(id: string): Promise<void>;
    /** @param {boolean} muted */
    setMuted(muted: boolean): void;
    /** As `setMuted(false)`, by somebody who was told that they may speak: that asks for the microphone, too, where there is none yet. */
    unmute(): void;
    /**
     * Hears nothing until it is taken back, and is muted meanwhile: whoever hears nobody doesn't know that they are heard.
     *
     * @param {boolean} deafened
     */
    setDeafened(deafened: boolean): void;
    /** @param {boolean} hand  ask to speak, or take it back */
    setHand(hand: boolean): void;
    /** @param {boolean} on  whether I'm brought to the level of others, where the room does that */
    setAutoGain(on: boolean): void;
    /** @param {boolean} on  whether my noise is suppressed, where the room can */
    setNoiseSuppression(on: boolean): void;
    /** Music is sent as the microphone takes it: unprocessed, in stereo, at 128 kbit/s. @param {boolean} on */
    setMusic(on: boolean): void;
    /** Plays what autoplay held back; call it from a click. */
    hear(): Promise<void>;
    /** Goes on playing on an element of its own, so that another room may have the one that this was given. */
    playApart(): void;
    /** Leaves the room; another {@link VoiceRoom} may enter it again. */
    leave(): void;
    #private;
}
export type Problem = import("./messages.js").Problem;
export type Participant = {
    /**
     * who it is, unique in the room
     */
    id: string;
    /**
     * what to call them
     */
    name: string;
    muted: boolean;
    speaking: boolean;
    /**
     * whether sound flows to and from them just now
     */
    connected: boolean;
    /**
     * whether it is a program that speaks, and no person
     */
    bot?: boolean | undefined;
    deafened?: boolean | undefined;
    /**
     * false: they have none, or gave none to the page
     */
    microphone?: boolean | undefined;
    /**
     * whether they ask to speak
     */
    hand?: boolean | undefined;
    /**
     * whether they make music, see {@link VoiceRoom.setMusic}
     */
    music?: boolean | undefined;
    /**
     * whether they are brought to the level of others
     */
    auto_gain?: boolean | undefined;
    /**
     * whether their noise is suppressed
     */
    noise_suppression?: boolean | undefined;
    role?: "listener" | "speaker" | undefined;
    moderator?: boolean | undefined;
    /**
     * muted by a moderator, which they can't undo
     */
    silenced?: boolean | undefined;
};
export type Own = import("./pending_state.js").Own;
export type Status = "new" | "connecting" | "connected" | "reconnecting" | "left" | "ended";
export type Options = {
    room: string;
    /**
     * signed by the server for this room and name
     */
    token?: string | undefined;
    /**
     * proves that I am the same one when I come back; the server makes one up where there is none
     */
    session?: string | undefined;
    /**
     * of the room that I was in on a page before this one: I come back to that one only
     */
    roomId?: string | undefined;
    /**
     * path of the voice socket
     */
    socket?: string | undefined;
    /**
     * whether long polling is offered there, for networks without WebSockets; so if not given
     */
    longPoll?: boolean | undefined;
    /**
     * echo cancellation and the like on the microphone
     */
    processing?: boolean | undefined;
    /**
     * whether I'm brought to the level of others; so if not given
     */
    autoGain?: boolean | undefined;
    /**
     * whether my noise is suppressed; as the room has it if not given
     */
    noiseSuppression?: boolean | undefined;
    /**
     * whether I make music, see {@link VoiceRoom.setMusic}
     */
    music?: boolean | undefined;
    /**
     * id of the microphone to take, if it is there
     */
    microphone?: string | undefined;
    /**
     * id of the speaker to play on, if it is there
     */
    speaker?: string | undefined;
    /**
     * more for the socket, where its server wants more than a token
     */
    params?: Record<string, unknown> | undefined;
    /**
     * whether the page says goodbye by HTTP when it goes, see {@link VoiceRoom.goodbye}
     */
    goodbye?: boolean | undefined;
    renewToken?: (() => Promise<string>) | undefined;
    /**
     * what plays the room; one of our own if not given
     */
    audio?: HTMLAudioElement | undefined;
};
import { SignallingError } from "./signalling.js";
