// A proxy in front of the server that doesn't care for WebSockets, as some companies have between their people and the world.
import { connect, createServer } from "node:net";

/**
 * @param {number} port  of the server
 * @param {"passes" | "cuts" | "swallows" | "refuses"} manner  what it does with WebSockets: lets them pass; ends each one as soon as
 *   it is open; never answers; answers 403
 */
export async function appliance(port, manner) {
  const open = new Set();
  /** Requests so far, by the last part of their path. */
  const seen = { websocket: 0, longpoll: 0 };
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    let webSocket = false;
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ]) {
      open.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        open.delete(one);
        other.destroy();
      });
    }
    client.on("data", (data) => {
      const head = /^(?:GET|POST) \/[a-z]+\/(websocket|longpoll)[? ]/.exec(data.toString("latin1"));
      if (head) seen[head[1]] += 1;
      webSocket ||= head?.[1] === "websocket";
      if (webSocket && manner === "swallows") return;
      if (webSocket && manner === "refuses") return client.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      client.write(data);
      if (webSocket && manner === "cuts") client.destroySoon();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    url: `http://localhost:${server.address().port}`,
    seen,
    cut,
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
