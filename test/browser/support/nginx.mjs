// Debian's nginx in front of servers, each under a path of one host.
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { standInFront } from "./proxy.mjs";
import { freeTcpPort } from "../../support/ports.mjs";
import { ROOT } from "./server.mjs";

// The last is that of bin/setup --test.
const PROGRAM = ["nginx", "/usr/sbin/nginx", join(ROOT, "tmp/nginx/usr/sbin/nginx")].find((path) => !spawnSync(path, ["-v"]).error);

/** Why it can't be run here; `false` if it can. For `skip:` of a test. */
export const noNginx = PROGRAM ? false : "needs nginx (bin/setup --test gets it)";

/**
 * @param {Record<string, number>} ports  of the servers, by the path that each has; everything else gets a page of nginx's
 * @param {{takesAway?: boolean}} [options]  `takesAway`: the server gets paths without that beginning
 * @returns {Promise<{url: string, close: () => Promise<void>}>}
 */
export async function nginx(ports, { takesAway = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "roomtone-nginx-"));
  const port = await freeTcpPort();
  const locations = Object.entries(ports).map(
    ([path, upstream]) => `
      location ${path}/ {
        proxy_pass http://127.0.0.1:${upstream}${takesAway ? "/" : ""};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $upgrade;
      }`,
  );
  writeFileSync(
    join(folder, "nginx.conf"),
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
    events { worker_connections 256; }
    http {
      access_log off;
      client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder};
      uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
      map $http_upgrade $upgrade { default upgrade; '' close; }
      server {
        listen 127.0.0.1:${port};
        ${locations.join("\n")}
        location / { default_type text/plain; return 200 "another app"; }
      }
    }`,
  );
  return await standInFront(PROGRAM, ["-c", join(folder, "nginx.conf"), "-e", join(folder, "error.log")], { url: `http://localhost:${port}`, folder });
}
