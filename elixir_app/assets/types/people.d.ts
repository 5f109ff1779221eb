/**
 * @typedef {import("./voice_room.js").Participant} Participant
 * @typedef {{joined?: Participant[], changed?: (Partial<Participant> & {id: string})[], left?: {id: string}[]}} Diff
 */
/** The people in the room, as the server tells it: all at once when we join, and from then on what changes. */
export class People {
    /** In the order they came. */
    get all(): import("./voice_room.js").Participant[];
    /** @param {string} id */
    get(id: string): import("./voice_room.js").Participant | undefined;
    /**
     * The whole list. People who came and went while we were away are told apart from those who were there before we first came.
     *
     * @param {Participant[]} list
     * @returns {{joined: Participant[], left: Participant[]}}
     */
    reset(list: Participant[]): {
        joined: Participant[];
        left: Participant[];
    };
    /**
     * @param {Diff} diff
     * @returns {{joined: Participant[], left: Participant[]}}
     */
    apply({ joined, changed, left }: Diff): {
        joined: Participant[];
        left: Participant[];
    };
    /**
     * @param {string} id
     * @param {Partial<Participant>} change
     * @returns {boolean} whether there is such a person
     */
    change(id: string, change: Partial<Participant>): boolean;
    clear(): void;
    #private;
}
export type Participant = import("./voice_room.js").Participant;
export type Diff = {
    joined?: Participant[];
    changed?: (Partial<Participant> & {
        id: string;
    })[];
    left?: {
        id: string;
    }[];
};
