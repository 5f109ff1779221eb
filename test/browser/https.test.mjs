// By HTTPS, as a phone on the same network comes: the certificate that `mix roomtone.cert` makes, and the address of this machine.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { everybodyGoes, Person } from "./support/person.mjs";
import { ROOT, Server, TMP } from "./support/server.mjs";
import { freeTcpPort } from "../support/ports.mjs";

const TONES = [500, 800];
const FILES = join(TMP, "https");
let server, url, ada, ben;

before(async () => {
  const port = await freeTcpPort();
  url = `https://localhost:${port}`;
  const { status, stderr, stdout } = spawnSync("mix", ["roomtone.cert", "--directory", FILES, "--quiet"], {
    cwd: ROOT,
    env: { ROOMTONE_CARGO_PROFILE: "dev", ...process.env, MIX_ENV: "dev" },
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout + stderr);
  server = await Server.start("https", {
    HTTPS_PORT: String(port),
    HTTPS_CERT_FILE: join(FILES, "certificate.pem"),
    HTTPS_KEY_FILE: join(FILES, "key.pem"),
  });
});

after(async () => {
  await everybodyGoes([ada, ben]);
  await server?.kill();
});

/** A request of a client that knows the certificate, and no other. */
function get(path, options = {}) {
  return new Promise((resolve, reject) => {
    request(url + path, { ca: readFileSync(join(FILES, "certificate.pem")), ...options }, (response) => {
      response.resume();
      response.on("end", () => resolve(response));
    })
      .on("error", reject)
      .end();
  });
}

test("a client that trusts the certificate gets TLS 1.3 and a cookie for HTTPS only", async () => {
  const response = await get("/");
  assert.equal(response.statusCode, 200);
  const cookies = response.headers["set-cookie"] ?? [];
  assert.ok(cookies.length > 0 && cookies.every((cookie) => /;\s*secure/i.test(cookie)), cookies.join("\n"));
  await assert.rejects(get("/", { maxVersion: "TLSv1.2" }), /EPROTO|alert/);
  await assert.rejects(get("/", { ca: [] }), /self.signed/i);
});

test("a page that came over plain HTTP leads to the address that works", async () => {
  const page = await (await fetch(`${server.url}/`)).text();
  const [, notice] = page.match(/<p[^>]* id="insecure">([^]*?)<\/p>/);
  assert.ok(notice.includes(`<a href="${url}">${url}</a>`), notice);
  // In the room, a script reads it.
  assert.match(page, new RegExp(`<meta name="secure-address" content="${url}"`));
});

test("two people hear each other by HTTPS", async () => {
  const context = { ignoreHTTPSErrors: true };
  [ada, ben] = await Promise.all([
    Person.arrive("Ada", TONES[0], { context }),
    Person.arrive("Ben", TONES[1], { context }),
  ]);
  await ada.join(url, "standup");
  await ben.join(url, "standup");
  assert.equal(await ada.page.evaluate(() => isSecureContext && location.protocol), "https:");
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
});

test("a page of another origin opens no socket here", async () => {
  const statusFrom = async (origin) => {
    const socket = {
      connection: "upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      origin,
    };
    return (await get("/voice/websocket?vsn=2.0.0", { headers: socket })).statusCode;
  };
  assert.equal(await statusFrom("https://elsewhere.example"), 403);
  assert.equal(await statusFrom(url.replace("https:", "http:")), 403);
  // The right origin gets as far as being asked for its token.
  assert.equal(await statusFrom(url), 401);
});
