// @ts-check
/**
 * The geometry of a floor plan (`Roomtone.FloorPlan`), as a page needs it: where one can walk. The server checks each step again.
 *
 * @typedef {[x: number, y: number]} Point
 * @typedef {[x1: number, y1: number, x2: number, y2: number]} Segment
 * @typedef {object} Plan
 * @property {string} title
 * @property {number} width
 * @property {number} height
 * @property {number} speed  metres a second
 * @property {{name: string, x: number, y: number, width: number, height: number}[]} rooms
 * @property {{from: string, into: string | null, x: number, y: number, width: number, gain: number}[]} doors
 * @property {{x1: number, y1: number, x2: number, y2: number}[]} walls
 * @property {{name: string, x: number, y: number, radius: number}[]} megaphones
 */

/** One keeps so far from walls, in metres: the server sees only some points of a path, and draws straight lines between them. */
const MARGIN = 0.35;
/** The grid on which paths are found. */
const CELL = 0.5;

/**
 * All that blocks the way: sides of rooms without the doors, and free-standing walls.
 *
 * @param {Plan} plan
 * @returns {Segment[]}
 */
export function segmentsOf(plan) {
  /** @type {Segment[]} */
  const segments = plan.walls.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2]);
  for (const { x, y, width, height } of plan.rooms) {
    for (const at of [y, y + height])
      for (const [a, b] of openings(plan, x, x + width, (door) => (near(door.y, at) ? door.x : null))) segments.push([a, at, b, at]);
    for (const at of [x, x + width])
      for (const [a, b] of openings(plan, y, y + height, (door) => (near(door.x, at) ? door.y : null))) segments.push([at, a, at, b]);
  }
  return segments;
}

/** @param {number} a @param {number} b */
const near = (a, b) => Math.abs(a - b) < 1e-6;

/**
 * A side without its doors.
 *
 * @param {Plan} plan
 * @param {number} from
 * @param {number} to
 * @param {(door: Plan["doors"][0]) => number | null} middle  of a door in this side
 */
function openings(plan, from, to, middle) {
  let pieces = [[from, to]];
  for (const door of plan.doors) {
    const at = middle(door);
    if (at === null || at - door.width / 2 < from - 1e-6 || at + door.width / 2 > to + 1e-6) continue;
    pieces = pieces.flatMap(([a, b]) => {
      if (at <= a || at >= b) return [[a, b]];
      return [
        [a, at - door.width / 2],
        [at + door.width / 2, b],
      ].filter(([c, d]) => d - c > 1e-6);
    });
  }
  return pieces;
}

/** @param {Point} a @param {Point} b */
export const distance = ([x, y], [u, v]) => Math.hypot(u - x, v - y);

/** @param {Segment} segment @param {Point} point */
function fromSegment([x1, y1, x2, y2], [x, y]) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const along = Math.max(0, Math.min(((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy), 1));
  return Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
}

/**
 * Whether a straight line between two points crosses a wall.
 *
 * @param {Point} a
 * @param {Point} b
 * @param {Segment} wall
 */
function crosses(a, b, [x1, y1, x2, y2]) {
  const side = (/** @type {Point} */ [x, y], /** @type {Point} */ [u, v], /** @type {Point} */ [p, q]) => (u - x) * (q - y) - (v - y) * (p - x);
  const [c, d] = /** @type {[Point, Point]} */ ([[x1, y1], [x2, y2]]);
  return side(c, d, a) * side(c, d, b) < 0 && side(a, b, c) * side(a, b, d) < 0;
}

export class Floor {
  /** @param {Plan} plan */
  constructor(plan) {
    this.plan = plan;
    this.segments = segmentsOf(plan);
    this.columns = Math.floor(plan.width / CELL);
    this.rows = Math.floor(plan.height / CELL);
    this.free = Array.from({ length: this.columns * this.rows }, (_, i) => this.isFree(this.#middle(i)));
  }

  /** Whether one can stand there. @param {Point} point */
  isFree([x, y]) {
    const { width, height } = this.plan;
    if (x < MARGIN || y < MARGIN || x > width - MARGIN || y > height - MARGIN) return false;
    return this.segments.every((segment) => fromSegment(segment, [x, y]) >= MARGIN);
  }

  /**
   * A step, as far as walls let one: along the wall, where straight on isn't possible. Somebody who stands too near a wall, where the server
   * put them, may step away from it.
   *
   * @param {Point} from
   * @param {Point} by
   * @returns {Point}
   */
  slide([x, y], [dx, dy]) {
    const tries = /** @type {Point[]} */ ([
      [x + dx, y + dy],
      [x + dx, y],
      [x, y + dy],
    ]);
    return tries.find((to) => (to[0] !== x || to[1] !== y) && (this.isFree(to) || this.#freer([x, y], to))) ?? [x, y];
  }

  /** @param {Point} from @param {Point} to */
  #freer(from, to) {
    if (this.isFree(from)) return false;
    const room = (/** @type {Point} */ at) =>
      Math.min(at[0], at[1], this.plan.width - at[0], this.plan.height - at[1], ...this.segments.map((segment) => fromSegment(segment, at)));
    // Across the wall there may be more space, too; halfway there is less.
    const halfway = /** @type {Point} */ ([(from[0] + to[0]) / 2, (from[1] + to[1]) / 2]);
    return room(to) > room(from) && room(halfway) > room(from);
  }

  /** The room in which a point is. @param {Point} point */
  zone([x, y]) {
    const inside = this.plan.rooms.find((room) => x >= room.x && x <= room.x + room.width && y >= room.y && y <= room.y + room.height);
    return inside?.name ?? null;
  }

  /**
   * Whether a wall stands between two places, and no open door of the plan leads from the room of one into that of the other.
   *
   * @param {Point} a
   * @param {Point} b
   */
  isBehindWall(a, b) {
    const [from, into] = [this.zone(a), this.zone(b)];
    const opens = (/** @type {Plan["doors"][0]} */ door) =>
      door.gain > 0 && ((door.from === from && door.into === into) || (door.from === into && door.into === from));
    return from !== into && !this.plan.doors.some(opens) && this.segments.some((wall) => crosses(a, b, wall));
  }

  /** The megaphone spot on which a point is. @param {Point} point */
  megaphone(point) {
    return this.plan.megaphones.find(({ x, y, radius }) => distance([x, y], point) <= radius) ?? null;
  }

  /** @param {number} i @returns {Point} */
  #middle(i) {
    return [((i % this.columns) + 0.5) * CELL, (Math.floor(i / this.columns) + 0.5) * CELL];
  }

  /** The free cell next to a point. @param {Point} point */
  #cell(point) {
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < this.free.length; i += 1) {
      const far = this.free[i] ? distance(this.#middle(i), point) : Infinity;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  /**
   * The shortest way around the walls, in steps of the grid; empty where there is none.
   *
   * @param {Point} from
   * @param {Point} to
   * @returns {Point[]}
   */
  path(from, to) {
    const [start, goal] = [this.#cell(to), this.#cell(from)];
    if (start < 0 || goal < 0) return [];
    // From the end to the beginning, so that the way can be read forwards.
    const next = new Map([[start, start]]);
    const costs = new Map([[start, 0]]);
    /** @type {number[][]} */
    const queue = [[start]];
    for (let cost = 0; cost < queue.length && !(costs.get(goal) === cost); cost += 1) {
      for (const cell of queue[cost] ?? []) {
        if (costs.get(cell) !== cost) continue;
        for (const [neighbour, step] of this.#neighbours(cell)) {
          const total = cost + step;
          if (total >= (costs.get(neighbour) ?? Infinity)) continue;
          costs.set(neighbour, total);
          next.set(neighbour, cell);
          for (let i = queue.length; i <= total; i += 1) queue.push([]);
          queue[total].push(neighbour);
        }
      }
    }
    if (!next.has(goal)) return [];
    const way = [];
    for (let cell = goal; cell !== start; cell = next.get(cell) ?? start) way.push(this.#middle(cell));
    return [...way.slice(1), this.isFree(to) ? to : this.#middle(start)];
  }

  /** The cells around one, with what a step there costs: 10, or 14 across a corner. @param {number} cell */
  #neighbours(cell) {
    const [column, row] = [cell % this.columns, Math.floor(cell / this.columns)];
    const is = (/** @type {number} */ x, /** @type {number} */ y) =>
      x >= 0 && y >= 0 && x < this.columns && y < this.rows && this.free[y * this.columns + x];
    const found = /** @type {[number, number][]} */ ([]);
    for (let dx = -1; dx <= 1; dx += 1)
      for (let dy = -1; dy <= 1; dy += 1)
        if ((dx || dy) && is(column + dx, row + dy) && is(column + dx, row) && is(column, row + dy))
          found.push([(row + dy) * this.columns + column + dx, dx && dy ? 14 : 10]);
    return found;
  }
}

const COMPASS = ["east", "south-east", "south", "south-west", "west", "north-west", "north", "north-east"];

/**
 * Where something is, in words. North is up.
 *
 * @param {Point} from
 * @param {Point} to
 */
export function whereabouts(from, to) {
  const metres = Math.round(distance(from, to));
  if (metres < 1) return "right beside you";
  const eighth = Math.round((Math.atan2(to[1] - from[1], to[0] - from[0]) * 4) / Math.PI);
  return `${metres} m ${COMPASS[(eighth + 8) % 8]}`;
}
