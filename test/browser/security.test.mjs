// The wire as a stranger would try it: no browser, plain requests.
import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { Server } from "./support/server.mjs";

let server;

before(async () => {
  server = await Server.start("security");
});

after(() => server?.kill());

/** Asks for a WebSocket; resolves with the status, headers and body. */
function upgrade({ token, origin, path = "/voice/websocket?vsn=2.0.0" }) {
  return new Promise((resolve, reject) => {
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      Origin: origin ?? server.url,
    };
    if (token) headers["Sec-WebSocket-Protocol"] = `phoenix, base64url.bearer.phx.${Buffer.from(token).toString("base64url")}`;
    const asked = request(`${server.url}${path}`, { headers, agent: false });
    asked.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers });
    });
    asked.on("response", async (response) => {
      let body = "";
      for await (const part of response) body += part;
      resolve({ status: response.statusCode, headers: response.headers, body });
    });
    asked.on("error", reject);
    asked.end();
  });
}

const tampered = (token) => {
  const [head, payload, signature] = token.split(".");
  return [head, payload, (signature[0] === "A" ? "B" : "A") + signature.slice(1)].join(".");
};

test("the voice socket opens to a good token from our own page, and to nothing else", async () => {
  const token = server.token("standup", "Ada");
  const good = await upgrade({ token });
  assert.equal(good.status, 101);
  assert.equal(good.headers["sec-websocket-protocol"], "phoenix");
  assert.equal((await upgrade({ path: `/voice/websocket?vsn=2.0.0&token=${token}` })).status, 101);

  // A good token is of no use to a foreign page, if it should ever get one.
  const foreign = await upgrade({ path: `/voice/websocket?vsn=2.0.0&token=${token}`, origin: "https://evil.example" });
  assert.equal(foreign.status, 403);
  for (const [bad, reason] of [
    [undefined, "missing_token"],
    ["nonsense", "bad_token"],
    [tampered(token), "bad_token"],
    [`${Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url")}.${token.split(".")[1]}.`, "bad_token"],
  ]) {
    const answer = await upgrade({ token: bad });
    assert.equal(answer.status, 401, `${bad}`);
    const words = JSON.parse(answer.body);
    assert.equal(words.reason, reason);
    assert.match(words.message, /\w+ \w+/);
  }
});

test("the pages' socket opens to our own pages only", async () => {
  const path = "/live/websocket?vsn=2.0.0";
  assert.equal((await upgrade({ path })).status, 101);
  assert.equal((await upgrade({ path, origin: "https://evil.example" })).status, 403);
  assert.equal((await upgrade({ path, origin: `http://localhost.evil.example:${server.port}` })).status, 403);
});

test("an expired token opens nothing", async () => {
  const token = server.token("standup", "Ada", ["--ttl", "1"]);
  await new Promise((resolve) => setTimeout(resolve, 2100));
  const answer = await upgrade({ token });
  assert.equal(answer.status, 401);
  assert.equal(JSON.parse(answer.body).reason, "token_expired");
  const whip = await fetch(`${server.url}/whip/standup`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/sdp" },
    body: "v=0\r\n",
  });
  assert.equal(whip.status, 401);
});

test("WHIP: another room's token, no grant, no SDP", async () => {
  const post = (room, token, body, type = "application/sdp") =>
    fetch(`${server.url}/whip/${room}`, { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": type }, body });
  const token = server.token("standup", "Ada");
  assert.equal((await post("elsewhere", token, "v=0\r\n")).status, 403);
  assert.equal((await post("standup", token, "{}", "application/json")).status, 415);
  assert.equal((await post("standup", token, "no sdp at all")).status, 400);
  assert.equal((await post("standup", token, `v=0\r\n${"a=x\r\n".repeat(20_000)}`)).status, 413);
  const moderator = server.token("standup", "Mo", ["--grants", "moderate"]);
  assert.equal((await post("standup", moderator, "v=0\r\n")).status, 403);
});

test("the form takes no post from elsewhere", async () => {
  const answer = await fetch(`${server.url}/rooms`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded", origin: "https://evil.example" },
    body: "name=Ada&room=standup",
    redirect: "manual",
  });
  assert.equal(answer.status, 403);
});

test("only our own files are served", async () => {
  for (const path of ["/assets/../../mix.exs", "/assets/%2e%2e/%2e%2e/mix.exs", "/assets/js/../../../mix.exs", "/mix.exs"]) {
    const status = await new Promise((resolve, reject) => {
      request(`${server.url}`, { path, agent: false }, (response) => resolve(response.resume().statusCode)).on("error", reject).end();
    });
    assert.ok([400, 403, 404].includes(status), `${path}: ${status}`);
  }
});
