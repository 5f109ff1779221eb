// @ts-check
/**
 * @typedef {import("./voice_room.js").Participant} Participant
 * @typedef {{joined?: Participant[], changed?: (Partial<Participant> & {id: string})[], left?: {id: string}[]}} Diff
 */

/** The people in the room, as the server tells it: all at once when we join, and from then on what changes. */
export class People {
  /** @type {Map<string, Participant>} */ #byId = new Map();
  #entered = false;

  /** In the order they came. */
  get all() {
    return [...this.#byId.values()];
  }

  /** @param {string} id */
  get(id) {
    return this.#byId.get(id);
  }

  /**
   * The whole list. People who came and went while we were away are told apart from those who were there before we first came.
   *
   * @param {Participant[]} list
   * @returns {{joined: Participant[], left: Participant[]}}
   */
  reset(list) {
    const before = this.#byId;
    this.#byId = new Map(list.map((person) => [person.id, person]));
    const joined = this.#entered ? list.filter(({ id }) => !before.has(id)) : [];
    this.#entered = true;
    return { joined, left: [...before.values()].filter(({ id }) => !this.#byId.has(id)) };
  }

  /**
   * @param {Diff} diff
   * @returns {{joined: Participant[], left: Participant[]}}
   */
  apply({ joined = [], changed = [], left = [] }) {
    const fresh = joined.filter(({ id }) => !this.#byId.has(id));
    for (const person of joined) this.#byId.set(person.id, person);
    for (const change of changed) this.change(change.id, change);
    const gone = left.flatMap(({ id }) => this.#byId.get(id) ?? []);
    for (const { id } of gone) this.#byId.delete(id);
    return { joined: fresh, left: gone };
  }

  /**
   * @param {string} id
   * @param {Partial<Participant>} change
   * @returns {boolean} whether there is such a person
   */
  change(id, change) {
    const person = this.#byId.get(id);
    if (person) this.#byId.set(id, { ...person, ...change });
    return person !== undefined;
  }

  clear() {
    this.#byId.clear();
  }
}
