// Ports for servers that tests start. They lie below those that the system gives to clients: between the search and the start of the
// server, a client somewhere can't be given one of them.
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const FIRST = 10_000;
const LAST = 32_000;
const TRIES = 200;

/** @param {number} port @returns {Promise<boolean>} */
function tcpIsFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

/** Errors of binding a socket of IPv6 where the system has none. */
const NO_IPV6 = ["EAFNOSUPPORT", "EADDRNOTAVAIL"];

/** @param {number} port @param {"udp6" | "udp4"} family @returns {Promise<boolean>} */
function udpIsFree(port, family = "udp6") {
  return new Promise((resolve) => {
    const socket = createSocket(family);
    socket.once("error", ({ code }) => {
      resolve(family === "udp6" && NO_IPV6.includes(code) ? udpIsFree(port, "udp4") : false);
    });
    socket.bind(port, () => socket.close(() => resolve(true)));
  });
}

/** @param {(port: number) => Promise<boolean>} isFree @param {number} count */
async function find(isFree, count) {
  search: for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const first = FIRST + Math.floor(Math.random() * (LAST - FIRST - count));
    for (let port = first; port < first + count; port += 1) if (!(await isFree(port))) continue search;
    return first;
  }
  throw new Error(`no ${count} free ports in a row between ${FIRST} and ${LAST}`);
}

/** The first of so many free TCP ports in a row. */
export const freeTcpPort = (count = 1) => find(tcpIsFree, count);

/** The first of so many free UDP ports in a row. */
export const freeUdpPort = (count = 1) => find((port) => udpIsFree(port), count);
