// A TCP proxy in front of the server whose connections can be cut, as a changed network would.
import { connect, createServer } from "node:net";

export async function cuttable(port) {
  const open = new Set();
  let closed = false;
  const server = createServer((client) => {
    if (closed) return client.destroy();
    const upstream = connect(port, "127.0.0.1");
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
      one.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    url: `http://localhost:${server.address().port}`,
    cut,
    /** Nothing gets through until {@link restore}. */
    block() {
      closed = true;
      cut();
    },
    restore() {
      closed = false;
    },
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
