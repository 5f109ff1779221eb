/**
 * Adds up the streams of a room that forwards: each talker's with the gain and the pan that the server gives them. The result is one
 * stream, to be played like that of any other room.
 *
 * A slot is another talker's from one packet to the next, and each packet says whose it is. So the server tells in advance how to
 * play whom, and here it is looked who is played just now: nobody is heard at the gain of the one before. A slot in which nobody talks
 * waits at the least gain that anybody may come with.
 */
export class Forward {
    static get supported(): boolean;
    /** All slots together. */
    get stream(): MediaStream;
    /** @param {boolean} stereo  whether the room has it */
    setStereo(stereo: boolean): void;
    /**
     * Plays what comes in a slot, in place of what came before.
     *
     * @param {number} slot
     * @param {MediaStreamTrack} track
     * @param {RTCRtpReceiver} receiver  of that track
     */
    play(slot: number, track: MediaStreamTrack, receiver: RTCRtpReceiver): void;
    /** @param {SlotMessage} word */
    set({ slots, others, rest }: SlotMessage): void;
    /** Begins to sound where autoplay held it back; for a click. */
    resume(): Promise<void>;
    close(): void;
    #private;
}
/**
 * how somebody is to be played
 */
export type Playback = {
    /**
     * linear
     */
    gain: number;
    /**
     * -1 left … 1 right
     */
    pan: number;
};
/**
 * of whom their packets say that they contributed them
 */
export type Source = Playback & {
    source: number;
};
/**
 * what the server says of it
 */
export type SlotMessage = {
    /**
     * those who are in a slot, in the order of the slots
     */
    slots: Source[];
    /**
     * those who may come into one
     */
    others: Source[];
    /**
     * the gain for whoever isn't told of
     */
    rest: number;
};
/**
 * what a slot's sound goes through
 */
export type ChannelStrip = {
    source: MediaStreamAudioSourceNode;
    puller: HTMLAudioElement;
    receiver: RTCRtpReceiver;
    /**
     * whose sound it plays; nobody's for a while, if null
     */
    talker: number | null;
    /**
     * how the talker is played to the end, of whom nothing is told any more
     */
    last: Playback | null;
    /**
     * when the newest of it was played, by the receiver's telling
     */
    heardAt: number;
    /**
     * for how many looks there has been nothing newer
     */
    looks: number;
};
/**
 * of a slot, whoever is in it
 */
export type Control = {
    gain: GainNode;
    /**
     * of what both sides of it have in common
     */
    pan: StereoPannerNode;
    /**
     * of what they differ in
     */
    width: GainNode;
    now: Playback;
};
