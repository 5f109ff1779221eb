// Stand-ins for the parts of a browser that a voice room needs and Node hasn't got, and for the server at the other end of its socket.
/** @type {FakeWebSocket[]} */
export const sockets = [];
/** @type {FakePeerConnection[]} */
export const connections = [];

/** The server's end of a socket: keeps what came, answers by `replies`, and pushes what it is told to. */
export class FakeWebSocket extends EventTarget {
  readyState = 0;
  /** @type {[string, any][]} event and payload of what the client sent */
  received = [];
  #join = ["", "", ""];

  constructor() {
    super();
    sockets.push(this);
    const { fate } = FakeWebSocket;
    if (fate === "hangs") return;
    queueMicrotask(() => {
      if (fate === "fails") return this.breaks();
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
      this.onopen?.();
    });
  }

  send(text) {
    const [joinRef, ref, topic, event, payload] = JSON.parse(text);
    if (event === "phx_join") this.#join = [joinRef, ref, topic];
    this.received.push([event, payload]);
    const [status, response] = FakeWebSocket.reply(event, payload) ?? [];
    if (status) queueMicrotask(() => this.#deliver([joinRef, ref, topic, "phx_reply", { status, response }]));
  }

  push(event, payload) {
    this.#deliver([this.#join[0], null, this.#join[2], event, payload]);
  }

  #deliver(message) {
    if (this.readyState !== 1) return;
    this.dispatchEvent(new Event("message"));
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** All payloads of one event. */
  of(event) {
    return this.received.filter(([name]) => name === event).map(([, payload]) => payload);
  }

  close(code = this.readyState === 1 ? 1000 : 1006) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    const event = Object.assign(new Event("close"), { code, wasClean: code === 1000 });
    this.dispatchEvent(event);
    this.onclose?.(event);
  }

  /** As when something on the way ends the connection. */
  breaks() {
    FakeWebSocket.prototype.close.call(this, 1006);
  }

  /** The fate of each new one. @type {"opens" | "fails" | "hangs"} */
  static fate = "opens";

  /** The server's answer: `[status, response]`, or nothing. @type {(event: string, payload: any) => any} */
  static reply = () => ["ok", {}];
}

class FakeCloseEvent extends Event {
  constructor(type, { code = 0, reason = "", wasClean = false } = {}) {
    super(type);
    Object.assign(this, { code, reason, wasClean });
  }
}

export class FakePeerConnection {
  connectionState = "new";
  localDescription = null;

  constructor() {
    connections.push(this);
  }

  addTransceiver() {
    return { sender: { replaceTrack: async () => {} } };
  }

  restartIce() {}

  async setLocalDescription() {
    this.localDescription = { sdp: "v=0 offer" };
  }

  async setRemoteDescription() {}

  close() {}

  becomes(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

export class FakeAudio {
  srcObject = null;
  muted = false;
  /** The error that play() rejects with. @type {unknown} */
  refuses = null;

  async play() {
    if (this.refuses) throw this.refuses;
  }
}

export class FakeStorage {
  #items = new Map();

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, String(value));
  }

  removeItem(key) {
    this.#items.delete(key);
  }
}

/** An element that has attributes, data and a parent page, and draws nothing. */
export class FakeElement extends EventTarget {
  hidden = false;
  textContent = "";
  isConnected = true;
  #attributes = new Map();

  constructor(dataset = {}) {
    super();
    this.dataset = dataset;
  }

  querySelector() {
    return null;
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.#attributes.set(name, String(value));
  }

  hasAttribute(name) {
    return this.#attributes.has(name);
  }

  removeAttribute(name) {
    this.#attributes.delete(name);
  }

  toggleAttribute(name, on = !this.hasAttribute(name)) {
    if (on) this.setAttribute(name, "");
    else this.removeAttribute(name);
    return on;
  }
}

/** The window and its document, from when it is made; after {@link install}. */
export class FakePage extends EventTarget {
  body = new FakeElement();
  #elements = new Map();

  constructor() {
    super();
    const document = {
      body: this.body,
      querySelector: (selector) => this.#elements.get(selector) ?? null,
      getElementById: (id) => this.#elements.get(`#${id}`) ?? null,
    };
    const globals = { document, addEventListener: this.addEventListener.bind(this) };
    for (const [name, value] of Object.entries(globals)) {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  /** Puts an element there, which this selector finds. */
  add(selector, element) {
    this.#elements.set(selector, element);
    return element;
  }
}

/** Puts the fakes where the client looks for the real ones. */
export function install() {
  sockets.length = 0;
  connections.length = 0;
  FakeWebSocket.reply = () => ["ok", {}];
  FakeWebSocket.fate = "opens";
  const track = { enabled: true, stop() {} };
  const mediaDevices = { getUserMedia: async () => ({ getAudioTracks: () => [track] }) };
  const globals = {
    WebSocket: FakeWebSocket,
    CloseEvent: FakeCloseEvent,
    RTCPeerConnection: FakePeerConnection,
    location: { protocol: "http:", host: "localhost", search: "" },
    isSecureContext: true,
    navigator: { mediaDevices },
    document: { querySelector: () => null, getElementById: () => null },
    localStorage: new FakeStorage(),
    sessionStorage: new FakeStorage(),
    Audio: FakeAudio,
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return { track };
}

/** Lets everything happen that only waits for its turn. */
export async function settle() {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
