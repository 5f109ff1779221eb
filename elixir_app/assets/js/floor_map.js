// @ts-check
/**
 * The hook `FloorMap`: the map of a room with a floor plan. It draws the plan and the people, and lets one walk by keys, mouse, touch, or the
 * buttons of the list. The page moves at once; the server checks, and puts back whoever couldn't go there.
 */
import { call } from "./call.js";
import { announce, part } from "./dom.js";
import { on } from "./events.js";
import { distance, Floor, whereabouts } from "./floor_geometry.js";
import { isTyping } from "./shortcuts.js";

/** @typedef {import("./floor_geometry.js").Point} Point */
/** @typedef {{plan: import("./floor_geometry.js").Plan, range: number | null, walk: boolean, positions: Record<string, Point | null>}} FloorPlanMap */

/** The server takes 20 steps a second. */
const SEND_MS = 60;
const LIST_MS = 500;
/** Others glide to where they are, for so long. */
const GLIDE_MS = 120;
/** So near one walks to a person, and so far one lets a person go before following. */
const BESIDE = 1.2;
const MOST_LISTED = 30;

/** @type {Record<string, Point>} */
const KEYS = {
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  KeyW: [0, -1],
  KeyS: [0, 1],
  KeyA: [-1, 0],
  KeyD: [1, 0],
};

export const FloorMap = {
  /** @this {import("phoenix_live_view").ViewHook & {view?: MapView}} */
  mounted() {
    this.view = new MapView(this.el);
  },

  /** @this {import("phoenix_live_view").ViewHook & {view?: MapView}} */
  destroyed() {
    this.view?.close();
  },
};

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

class MapView {
  #closing = new AbortController();
  /** @type {Floor | null} */ #floor = null;
  /** @type {FloorPlanMap | null} */ #map = null;
  /** Where each person is shown, and where they are. @type {Map<string, {shown: Point, at: Point, element: Element}>} */ #dots = new Map();
  /** @type {Set<string>} */ #pressed = new Set();
  /** @type {Point[]} */ #path = [];
  /** @type {string | null} */ #following = null;
  #frame = 0;
  #drawnAt = 0;
  #sentAt = 0;
  #sending = false;
  /** @type {Point | null} */ #told = null;
  /** Where the server has me, told since my last step and not yet shown. @type {Point | null} */ #heard = null;
  #spot = "";

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.drawing = /** @type {SVGSVGElement} */ (/** @type {unknown} */ (part(element, "drawing")));
    this.list = part(element, "list");
    const { signal } = this.#closing;
    on(call, "map", () => this.#begin(), signal);
    on(call, "place", () => this.#begin(), signal);
    on(call, "positions", ({ positions }) => this.#moved(positions), signal);
    on(call, "participants", () => this.#drawList(), signal);
    addEventListener("keydown", (event) => this.#key(event, true), { signal });
    addEventListener("keyup", (event) => this.#key(event, false), { signal });
    addEventListener("blur", () => this.#pressed.clear(), { signal });
    for (const type of ["pointerdown", "pointermove"])
      this.drawing.addEventListener(type, (event) => this.#point(/** @type {PointerEvent} */ (event)), { signal });
    this.list?.addEventListener("click", (event) => this.#listClicked(event), { signal });
    const timer = setInterval(() => this.#drawList(), LIST_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.#begin();
  }

  close() {
    this.#closing.abort();
    cancelAnimationFrame(this.#frame);
  }

  #begin() {
    const map = call.room?.map ?? null;
    if (map === this.#map) return;
    this.#map = map;
    this.element.hidden = map === null;
    this.#dots.clear();
    this.#stop();
    if (!map) return;
    this.#floor = new Floor(map.plan);
    this.#drawPlan(map);
    this.#moved(map.positions);
  }

  /** @param {FloorPlanMap} map */
  #drawPlan({ plan, range, walk }) {
    const floor = /** @type {Floor} */ (this.#floor);
    this.drawing.setAttribute("viewBox", `-0.3 -0.3 ${plan.width + 0.6} ${plan.height + 0.6}`);
    this.drawing.setAttribute("aria-label", `Map: ${plan.title}.${walk ? " Arrow keys or W, A, S and D walk." : ""}`);
    this.drawing.replaceChildren(
      svg("rect", { class: "floor", x: 0, y: 0, width: plan.width, height: plan.height }),
      ...plan.rooms.map(({ x, y, width, height }) => svg("rect", { class: "room-area", x, y, width, height })),
      ...plan.megaphones.map(({ x, y, radius }) => svg("circle", { class: "megaphone", cx: x, cy: y, r: radius })),
      ...plan.rooms.map(({ name, x, y, width, height }) => svg("text", { class: "area-name", x: x + width / 2, y: y + height / 2 }, name)),
      ...plan.megaphones.map(({ name, x, y, radius }) => svg("text", { class: "area-name", x, y: y - radius - 0.3 }, name)),
      ...floor.segments.map(([x1, y1, x2, y2]) => svg("line", { class: "wall", x1, y1, x2, y2 })),
      ...plan.doors.map(({ from, into, x, y, width }) => {
        const room = plan.rooms.find(({ name }) => name === from || name === into);
        const upright = room !== undefined && (Math.abs(x - room.x) < 1e-6 || Math.abs(x - room.x - room.width) < 1e-6);
        const half = width / 2;
        return svg("line", { class: "door", ...(upright ? { x1: x, x2: x, y1: y - half, y2: y + half } : { x1: x - half, x2: x + half, y1: y, y2: y }) });
      }),
      svg("circle", { class: "hearing", r: range ?? 0 }),
      svg("g", { "data-people": "" }),
    );
    const words = part(this.element, "hint");
    if (words) words.hidden = !walk;
  }

  get #me() {
    return call.room?.me ?? "";
  }

  /** Where I am, as far as this page knows. */
  get #here() {
    return this.#dots.get(this.#me)?.at ?? null;
  }

  /** @param {Record<string, Point | null>} positions */
  #moved(positions) {
    if (!this.#map) return;
    for (const [id, at] of Object.entries(positions)) {
      if (at === null) this.#remove(id);
      else if (id !== this.#me || !this.#here || (this.#told === null && !this.#walking)) this.#put(id, at);
      // My own steps since then are on their way there: I am where my page has me. Once they have arrived, I am where the server has me.
      else this.#heard = at;
    }
    this.#drawList();
    this.#run();
  }

  /** @param {string} id @param {Point} at */
  #put(id, at) {
    const dot = this.#dots.get(id);
    if (dot) dot.at = at;
    else {
      const element = svg("g", { class: "dot", "data-dot": id, "data-me": String(id === this.#me) });
      element.append(svg("circle", { r: 0.55 }), svg("text", { class: "dot-name", y: 1.35 }));
      this.drawing.querySelector("[data-people]")?.append(element);
      this.#dots.set(id, { shown: at, at, element });
    }
  }

  /** @param {string} id */
  #remove(id) {
    this.#dots.get(id)?.element.remove();
    this.#dots.delete(id);
  }

  // ---- Walking -------------------------------------------------------------------------------------------------------------

  get #walking() {
    return this.#pressed.size > 0 || this.#path.length > 0 || this.#following !== null;
  }

  #stop() {
    this.#pressed.clear();
    this.#path = [];
    if (this.#following !== null) this.#following = null;
  }

  /** @param {KeyboardEvent} event @param {boolean} down */
  #key(event, down) {
    if (!KEYS[event.code]) return;
    if (!down) {
      this.#pressed.delete(event.code);
      return;
    }
    const { target } = event;
    const here = target === document.body || (target instanceof Element && this.element.contains(target));
    if (!this.#map?.walk || !here || isTyping(target) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (event.repeat) return;
    this.#path = [];
    this.#following = null;
    this.#pressed.add(event.code);
    this.#run();
  }

  /** Walks to where one presses, and on while one drags. @param {PointerEvent} event */
  #point(event) {
    const here = this.#here;
    if (!this.#map?.walk || !here || !this.#floor || (event.buttons & 1) === 0) return;
    const matrix = this.drawing.getScreenCTM();
    if (!matrix) return;
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    this.#following = null;
    this.#path = this.#floor.path(here, [x, y]);
    this.#run();
  }

  /** @param {Event} event */
  #listClicked(event) {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    const id = button?.closest("li")?.dataset.person;
    if (!button || !id) return;
    const name = call.room?.participants.find((person) => person.id === id)?.name ?? id;
    if (button.dataset.does === "follow") {
      const follow = this.#following !== id;
      this.#stop();
      this.#following = follow ? id : null;
      announce(follow ? `Following ${name}.` : `No longer following ${name}.`);
    } else {
      this.#stop();
      this.#walkTo(id);
      announce(`Walking to ${name}.`);
    }
    this.#drawList();
    this.#run();
  }

  /** @param {string} id */
  #walkTo(id) {
    const [here, there] = [this.#here, this.#dots.get(id)?.at];
    if (!here || !there || !this.#floor) return;
    this.#path = this.#floor.path(here, there);
    while (this.#path.length > 0 && distance(/** @type {Point} */ (this.#path.at(-1)), there) < BESIDE) this.#path.pop();
  }

  /** @param {number} seconds */
  #step(seconds) {
    const [floor, me] = [this.#floor, this.#dots.get(this.#me)];
    if (!floor || !me) return;
    if (this.#following !== null && this.#path.length === 0) {
      const leader = this.#dots.get(this.#following);
      if (!leader) this.#following = null;
      else if (distance(me.at, leader.at) > 2 * BESIDE) this.#walkTo(this.#following);
    }
    let left = floor.plan.speed * seconds;
    if (this.#pressed.size > 0) {
      let [dx, dy] = [0, 0];
      for (const key of this.#pressed) [dx, dy] = [dx + KEYS[key][0], dy + KEYS[key][1]];
      const length = Math.hypot(dx, dy);
      if (length > 0) me.at = floor.slide(me.at, [(dx / length) * left, (dy / length) * left]);
    } else {
      while (left > 0 && this.#path.length > 0) {
        const far = distance(me.at, this.#path[0]);
        if (far <= left) {
          me.at = /** @type {Point} */ (this.#path.shift());
          left -= far;
        } else {
          const [x, y] = this.#path[0];
          me.at = [me.at[0] + ((x - me.at[0]) * left) / far, me.at[1] + ((y - me.at[1]) * left) / far];
          left = 0;
        }
      }
    }
    me.shown = me.at;
  }

  /** Tells the server where I am, one step at a time. @param {number} now */
  async #send(now) {
    const here = this.#here;
    if (!here || this.#sending || now - this.#sentAt < SEND_MS || !call.room) return;
    if (this.#told && distance(this.#told, here) < 0.01) {
      if (!this.#walking) this.#arrived();
      return;
    }
    if (!this.#walking && this.#told === null) return;
    this.#sentAt = now;
    this.#sending = true;
    this.#told = here;
    this.#heard = null;
    try {
      const { x, y, back } = await call.room.walk(here[0], here[1]);
      if (back) {
        this.#stop();
        [this.#told, this.#heard] = [null, null];
        this.#put(this.#me, [x, y]);
        announce("You can't go there.");
      }
    } catch {
      // Said again with the next step; a lost connection shows elsewhere.
    } finally {
      this.#sending = false;
    }
  }

  /** The server knows my last step; somebody may have moved me since. */
  #arrived() {
    this.#told = null;
    if (this.#heard) this.#put(this.#me, this.#heard);
    this.#heard = null;
  }

  // ---- Drawing -------------------------------------------------------------------------------------------------------------

  #run() {
    if (this.#frame || !this.#map) return;
    this.#drawnAt = performance.now();
    this.#frame = requestAnimationFrame((now) => this.#draw(now));
  }

  /** @param {number} now */
  #draw(now) {
    this.#frame = 0;
    const seconds = Math.min(Math.max(now - this.#drawnAt, 0) / 1000, 0.1);
    this.#drawnAt = now;
    if (this.#walking) this.#step(seconds);
    void this.#send(now);
    let still = true;
    for (const [id, dot] of this.#dots) {
      const far = distance(dot.shown, dot.at);
      const glide = id === this.#me || far < 0.01 ? 1 : 1 - Math.exp((-seconds * 1000) / GLIDE_MS);
      dot.shown = glide === 1 ? dot.at : [dot.shown[0] + (dot.at[0] - dot.shown[0]) * glide, dot.shown[1] + (dot.at[1] - dot.shown[1]) * glide];
      if (glide < 1) still = false;
      dot.element.setAttribute("transform", `translate(${dot.shown[0].toFixed(3)} ${dot.shown[1].toFixed(3)})`);
    }
    const here = this.#here;
    const circle = this.drawing.querySelector(".hearing");
    if (here && circle) circle.setAttribute("transform", `translate(${here[0].toFixed(3)} ${here[1].toFixed(3)})`);
    this.#tellSpot();
    if (!still || this.#walking || this.#told !== null) this.#frame = requestAnimationFrame((next) => this.#draw(next));
  }

  #tellSpot() {
    const here = this.#here;
    const spot = here && this.#floor?.megaphone(here);
    const words = spot ? `${spot.name}: everyone hears you here.` : "";
    const line = part(this.element, "spot");
    if (!line || words === this.#spot) return;
    this.#spot = words;
    line.textContent = words;
  }

  /** The people in words, nearest first. Rows stay in their place in the document while somebody is on one of their buttons. */
  #drawList() {
    const [here, list] = [this.#here, this.list];
    if (!list || !this.#map || !call.room) return;
    // A newcomer has a place before they are announced, and somebody who left has one no longer.
    const present = new Set(call.room.participants.map(({ id }) => id));
    for (const [id, { element }] of this.#dots) element.toggleAttribute("hidden", !present.has(id));
    const rows = call.room.participants
      .map((person) => ({ person, at: this.#dots.get(person.id)?.at ?? null }))
      .filter(({ person, at }) => person.id !== this.#me && at && here)
      .sort((a, b) => distance(/** @type {Point} */ (here), /** @type {Point} */ (a.at)) - distance(/** @type {Point} */ (here), /** @type {Point} */ (b.at)))
      .slice(0, MOST_LISTED);
    const listed = new Set(rows.map(({ person }) => person.id));
    const known = new Map([...list.querySelectorAll("li")].map((row) => [row.dataset.person ?? "", row]));
    for (const [id, row] of known) if (!listed.has(id)) row.remove();
    // A row moves only where the order has changed: a screen reader loses its place in one that is taken out and put back.
    const stays = list.contains(document.activeElement);
    let next = list.firstElementChild;
    for (const { person, at } of rows) {
      const row = known.get(person.id) ?? this.#row(person);
      const words = part(row, "where");
      const text = this.#whereIs(/** @type {Point} */ (at));
      if (words && words.textContent !== text) words.textContent = text;
      row.querySelector("[data-does=follow]")?.setAttribute("aria-pressed", String(this.#following === person.id));
      if (row === next) next = next.nextElementSibling;
      else if (!stays) list.insertBefore(row, next);
      else if (!row.parentElement) list.append(row);
    }
    for (const { id, name, speaking } of call.room.participants) {
      const dot = this.#dots.get(id)?.element;
      dot?.setAttribute("data-speaking", String(speaking));
      const text = dot?.querySelector("text");
      const shown = id === this.#me ? "You" : name;
      if (text && text.textContent !== shown) text.textContent = shown;
    }
    const alone = part(this.element, "alone");
    if (alone) alone.hidden = rows.length > 0;
  }

  /** @param {Point} at */
  #whereIs(at) {
    const [here, floor] = [/** @type {Point} */ (this.#here), /** @type {Floor} */ (this.#floor)];
    const range = this.#map?.range ?? Infinity;
    const zone = floor.zone(at);
    const parts = [whereabouts(here, at)];
    if (zone && zone !== floor.zone(here)) parts.push(`in ${zone}`);
    if (floor.megaphone(at)) parts.push("on the megaphone");
    else if (distance(at, here) >= range) parts.push("out of hearing");
    // Not whether one hears the other: the app may open doors, and put people into zones, of which this page isn't told.
    else if (floor.isBehindWall(at, here)) parts.push("behind a wall");
    return parts.join(", ");
  }

  /** @param {{id: string, name: string}} person */
  #row({ id, name }) {
    const row = document.createElement("li");
    row.dataset.person = id;
    const words = document.createElement("span");
    words.innerHTML = '<strong></strong> <span data-part="where"></span>';
    /** @type {HTMLElement} */ (words.firstElementChild).textContent = name;
    const buttons = [
      ["walk", "Walk to", `Walk to ${name}`],
      ["follow", "Follow", `Follow ${name}`],
    ].map(([does, text, label]) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "button", textContent: text });
      button.dataset.does = does;
      button.setAttribute("aria-label", label);
      if (does === "follow") button.setAttribute("aria-pressed", "false");
      return button;
    });
    row.append(words);
    if (this.#map?.walk) row.append(...buttons);
    return row;
  }
}
