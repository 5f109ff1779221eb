// `mix release`: it contains everything it needs, and ends gracefully.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build, Crowd, RELEASE, Release, SECRETS, token, until } from "./support.mjs";

before(build);

let release;
after(() => release?.kill());

test("it starts, is healthy, and serves its pages and scripts", async () => {
  release = await Release.start("first", { LOG_FORMAT: "json", DRAIN_SECONDS: "60" });
  const { body } = await release.health();
  assert.deepEqual([body.status, body.store, body.rooms, body.participants], ["ok", "ok", 0, 0]);
  const page = await (await fetch(`${release.url}/`)).text();
  assert.match(page, /<html/);
  // One script and one style sheet, small and cacheable for ever.
  const client = [...page.matchAll(/"(\/assets\/built\/[^"]+\.(?:js|css))"/g)].map(([, path]) => path);
  assert.equal(client.length, 2, page);
  let bytes = page.length;
  for (const path of client) {
    const response = await fetch(release.url + path, { headers: { "accept-encoding": "gzip" } });
    assert.equal(response.headers.get("content-encoding"), "gzip", path);
    assert.match(response.headers.get("cache-control"), /max-age=31536000, immutable/, path);
    bytes += Number(response.headers.get("content-length"));
  }
  assert.ok(bytes < 120_000, `the first page is ${bytes} bytes`);
  // The page's resources, and theirs in turn.
  const seen = new Set();
  const wanted = [...page.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, path]) => path);
  assert.ok(wanted.length >= 3, `the page asks for little: ${wanted}`);
  while (wanted.length > 0) {
    const path = wanted.pop();
    if (seen.has(path)) continue;
    seen.add(path);
    const response = await fetch(release.url + path);
    assert.equal(response.status, 200, path);
    const text = await response.text();
    assert.ok(text.length > 0, path);
    if (!path.endsWith(".js")) continue;
    for (const [, relative] of text.matchAll(/from "(\.[^"]+)"/g)) wanted.push(new URL(relative, release.url + path).pathname);
  }
});

test("its idle schedulers sleep", () => {
  const folder = join(RELEASE, "releases");
  const [flags] = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith("/vm.args"));
  assert.match(readFileSync(join(folder, flags), "utf8"), /^\+sbwt none\n\+sbwtdcpu none\n\+sbwtdio none$/m);
});

test("its native libraries have no debug information", () => {
  const files = readdirSync(join(RELEASE, "lib"), { recursive: true, encoding: "utf8" });
  const libraries = files.filter((file) => /priv\/native\/.*\.so$/.test(file)).map((file) => join(RELEASE, "lib", file));
  assert.ok(libraries.length > 0);
  for (const path of libraries) assert.ok(!readFileSync(path).includes(".debug_info\0"), path);
});

test("people hear each other", async () => {
  // In real time, and machines stall: a second try counts as well.
  const call = (room) => new Crowd(release, room, { peers: 4, talkers: 2, seconds: 3 }).done;
  const first = await call("tones");
  const { code, said } = first.code === 0 ? first : await call("tones2");
  assert.equal(code, 0, said);
});

test("asked to stop, it admits nobody, reports draining, and ends when the last person has left", async () => {
  const crowd = new Crowd(release, "evening", { peers: 3, talkers: 2, seconds: 300 });
  await until("the crowd's joining", async () => (await release.health()).body.participants === 3);
  const asked = release.terminate();
  const health = await until("draining", async () => {
    const health = await release.health();
    return health.status === 503 && health;
  });
  assert.equal(health.body.status, "draining");
  assert.equal(health.body.participants, 3);

  const refused = await fetch(`${release.url}/whip/evening`, {
    method: "POST",
    headers: { authorization: `Bearer ${token("evening", "late")}`, "content-type": "application/sdp" },
    body: offer(),
  });
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers.get("retry-after")) > 0);
  const { reason, message, retry } = await refused.json();
  assert.deepEqual([reason, retry], ["draining", true]);
  assert.match(message, /restart/);

  crowd.goHome();
  await crowd.done;
  const { code, at } = await release.exited;
  assert.equal(code, 0, release.log());
  assert.ok(at - asked < 55_000, "it waited although everybody had left");
});

test("its log is JSON, records who was where, and has no secrets", () => {
  const log = release.log();
  const lines = log
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const joined = lines.filter((line) => line.room === "tones" && /^joined/.test(line.message));
  assert.equal(joined.length, 4, log);
  for (const line of joined) {
    assert.ok(line.participant);
    assert.equal(line.level, "info");
    assert.ok(!Number.isNaN(Date.parse(line.time)));
  }
  assert.ok(lines.some((line) => line.room === "evening" && line.participant && /^left/.test(line.message)), log);
  assert.ok(lines.some((line) => /^stopping/.test(line.message)), log);
  for (const secret of [...SECRETS, "eyJ", "ice-pwd"]) assert.ok(!log.includes(secret), `the log has ${secret}`);
});

test("it doesn't wait for ever, and says goodbye to people who stay", async () => {
  release = await Release.start("second", { DRAIN_SECONDS: "2" });
  const crowd = new Crowd(release, "night", { peers: 3, talkers: 2, seconds: 300 });
  await until("the crowd's joining", async () => (await release.health()).body.participants === 3);
  const asked = release.terminate();
  const { code, at } = await release.exited;
  assert.equal(code, 0, release.log());
  assert.ok(at - asked >= 1_900, `it gave them ${at - asked} ms of 2 s`);
  assert.ok(at - asked < 30_000, `it took ${at - asked} ms`);
  crowd.goHome();
  const { said } = await crowd.done;
  assert.match(said, /lost|closed|gone|end/i);
});

test("a wrong setting stops it at once with a readable error", async () => {
  await assert.rejects(Release.start("wrong", { UDP_PORTS: "many", TOKEN_SECRET: "short" }), (error) => {
    assert.match(error.message, /udp_ports \(UDP_PORTS\) takes/);
    assert.match(error.message, /TOKEN_SECRET\) has 5 bytes/);
    return true;
  });
});

/** A well-formed offer; this test needs nothing more of it. */
function offer() {
  return ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", ""].join("\r\n");
}
