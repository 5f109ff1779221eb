// Debian's haproxy in front of servers, each under a path of one host.
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { standInFront } from "./proxy.mjs";
import { freeTcpPort } from "../../support/ports.mjs";

const PROGRAM = ["haproxy", "/usr/sbin/haproxy"].find((path) => !spawnSync(path, ["-v"]).error);

/** Why it can't be run here; `false` if it can. For `skip:` of a test. */
export const noHaproxy = PROGRAM ? false : "needs haproxy";

/**
 * @param {Record<string, number>} ports  of the servers, by the path that each has; everything else gets a text of haproxy's
 * @returns {Promise<{url: string, close: () => Promise<void>}>}
 */
export async function haproxy(ports) {
  const folder = mkdtempSync(join(tmpdir(), "roomtone-haproxy-"));
  const port = await freeTcpPort();
  const paths = Object.entries(ports);
  const file = join(folder, "haproxy.cfg");
  writeFileSync(
    file,
    `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:${port}
  option forwardfor
  http-request set-header X-Forwarded-Proto http
${paths.map(([path], n) => `  use_backend server${n} if { path ${path} } or { path_beg ${path}/ }`).join("\n")}
  default_backend another
backend another
  http-request return status 200 content-type text/plain string "another app"
${paths.map(([, upstream], n) => `backend server${n}\n  server one 127.0.0.1:${upstream}`).join("\n")}
`,
  );
  return await standInFront(PROGRAM, ["-db", "-f", file], { url: `http://localhost:${port}`, folder });
}
