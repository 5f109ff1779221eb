// The npm client against the demo endpoint: prints a line for each thing that happened, which the ExUnit test compares.
import { Socket } from "phoenix"
import WebSocket from "ws"

const [port, scenario] = process.argv.slice(2)
const url = `ws://127.0.0.1:${port}`
const say = (...parts) => console.log(parts.map(p => typeof p === "string" ? p : JSON.stringify(p)).join(" "))
const sleep = ms => new Promise(done => setTimeout(done, ms))
const answer = push => new Promise(done => push
  .receive("ok", m => done(["ok", m])).receive("error", m => done(["error", m])).receive("timeout", () => done(["timeout"])))
const socket = (path, params = {}, opts = {}) => {
  const s = new Socket(url + path, { transport: WebSocket, params, ...opts })
  s.connect()
  return s
}
const quick = { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 }

const scenarios = {
  async talk() {
    const s = socket("/voice", { user: "ann" }), c = s.channel("room:welcome", { a: 1 })
    c.on("welcome", m => say("push", m))
    say("join", ...await answer(c.join()))
    say("echo", ...await answer(c.push("echo", { text: "é\u2028<" })))
    say("no", ...await answer(c.push("no")))
    say("later", ...await answer(c.push("later", { l: 1 })))
    c.onClose(() => say("closed"))
    say("leave", ...await answer(c.leave()))
    s.disconnect()
  },
  async crash() {
    const s = socket("/voice", {}, quick), c = s.channel("room:crash", {})
    let joins = 0
    const again = new Promise(done => c.join().receive("ok", () => { say("joined", ++joins + ""); if (joins === 2) done() }))
    c.onError(() => say("error"))
    await sleep(100)
    c.push("crash")
    await again
    say("echo", ...await answer(c.push("echo", { back: true })))
    const closed = new Promise(done => c.onClose(() => { say("closed"); done() }))
    say("stop", ...await answer(c.push("stop")))
    await closed
    say("state", c.state)
    s.disconnect()
  },
  async refused() {
    const s = socket("/voice", { token: "refused" }, { reconnectAfterMs: () => 100000 })
    await new Promise(done => s.onError(() => done()))
    say("refused")
    process.exit(0)
  },
  async token() {
    const s = socket("/token", {}, { authToken: "the token" }), c = s.channel("room:token")
    say("join", (await answer(c.join()))[0])
    const [, m] = await answer(c.push("info"))
    say("token", String(m.info.includes("the token")))
    s.disconnect()
  },
  async large() {
    const s = socket("/voice"), c = s.channel("room:large")
    await answer(c.join())
    const text = "x".repeat(60000), [status, m] = await answer(c.push("echo", { text }))
    say("large", status, String(m.text === text))
    const closed = new Promise(done => s.onClose(event => { say("closed", event.code + ""); done() }))
    c.push("echo", { text: "x".repeat(70000) })
    await closed
    process.exit(0)
  },
  async heartbeat() {
    const s = socket("/open", {}, { heartbeatIntervalMs: 400 })
    await new Promise(done => s.onOpen(done))
    s.onClose(() => say("closed"))
    await sleep(2500)
    say("connected", String(s.isConnected()))
    process.exit(0)
  },
  // The server ends and comes back: the client is in the room again without a word from the app.
  async restart() {
    const s = socket("/voice", {}, quick), c = s.channel("room:restart")
    s.onClose(event => say("closed", event.code + ""))
    let joins = 0
    await new Promise(done => c.join().receive("ok", () => { say("joined", ++joins + ""); if (joins === 2) done() }))
    process.exit(0)
  },
}

setTimeout(() => { say("took too long"); process.exit(1) }, 30000)
await scenarios[scenario]()
await sleep(50)
process.exit(0)
