/**
 * Events: those of {@link VoiceRoom}, `place` (the call began, moved or ended), `problems` (they are in
 * {@link Call.problems}) and `back` (the room to which the call was sent doesn't have it: it is about to go on at the place in the
 * detail, where it was).
 */
export class Call extends EventTarget {
    /** The room of the call, also for a while after it ended by itself; null when there is none. */
    get room(): VoiceRoom | null;
    get place(): Place | null;
    /** @type {import("./voice_room.js").Status} */
    get status(): import("./voice_room.js").Status;
    get active(): boolean;
    /** Whether nobody can hear this person, for want of a microphone. */
    get withoutMicrophone(): boolean;
    /** The problems that the person should know of, oldest first. */
    get problems(): import("./messages.js").Problem[];
    /**
     * @param {{room: string, name: string}} place
     * @returns {boolean} whether the call is there
     */
    isAt({ room, name }: {
        room: string;
        name: string;
    }): boolean;
    /**
     * @param {{room: string, name: string}} place
     * @returns {boolean} whether the call of the page before this one was there, so that entering goes on with it
     */
    isKept(place: {
        room: string;
        name: string;
    }): boolean;
    /**
     * A moderator sends this person to another room.
     *
     * @param {string} path  of its page
     */
    sendTo(path: string): void;
    /**
     * @param {{path: string}} place
     * @returns {boolean} whether the call was sent there just now
     */
    isSentTo({ path }: {
        path: string;
    }): boolean;
    /**
     * Enters a room. If the call is there already, it just goes on; if it is elsewhere, it moves. Where it was sent there, it ends where it
     * was only when it is connected, and is as muted as before; a room that doesn't have it leaves it where it was.
     *
     * @param {Place} place
     * @param {{audio?: HTMLAudioElement, listenOnly?: boolean, muted?: boolean}} [options]  `listenOnly`: without asking for the
     *   microphone; `muted`: with the microphone shut, where the call is a new one
     */
    enter(place: Place, { audio, listenOnly, muted }?: {
        audio?: HTMLAudioElement;
        listenOnly?: boolean;
        muted?: boolean;
    }): void;
    /** Ends the call, because somebody wants that. */
    leave(): void;
    /**
     * Goes on with the call of the page before this one, if that was just now: it was reloaded, or a form led to a page that isn't
     * the room's.
     *
     * @param {{audio?: HTMLAudioElement}} [options]
     */
    resume(options?: {
        audio?: HTMLAudioElement;
    }): Promise<void>;
    /** The page is about to go. To the others that is somebody who left: only a lost connection keeps its place. */
    unload(): void;
    /** @param {string} code  a problem's code, or the beginning of several */
    solved(code: string): void;
    #private;
}
export const call: Call;
export type Kept = Omit<Place, "token"> & {
    muted: boolean;
    deafened?: boolean;
    listenOnly?: boolean;
    roomId?: string;
    left?: number;
};
export type Problem = import("./messages.js").Problem;
/**
 * where a call is
 */
export type Place = {
    room: string;
    /**
     * who I am there
     */
    name: string;
    token: string;
    session: string;
    /**
     * gives a fresh token to this browser
     */
    tokenUrl: string;
    /**
     * path of the voice socket
     */
    socket: string;
    /**
     * takes the goodbye of a page that goes
     */
    goodbyeUrl: string;
    /**
     * of the page that shows it
     */
    path: string;
};
/**
 * a call that goes on until the one in the next room is connected
 */
export type Former = {
    room: VoiceRoom;
    place: Place;
    problems: Map<string, Problem>;
    listenOnly: boolean;
    withoutMicrophone: boolean;
    /**
     * ends the wait for the next room
     */
    timer: ReturnType<typeof setTimeout>;
};
import { VoiceRoom } from "./voice_room.js";
