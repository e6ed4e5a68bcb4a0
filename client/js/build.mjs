// Builds dist: client.js to read, client.min.js to serve, and the types. Fails
// where the sources have a type error.

import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const tsc = fileURLToPath(new URL("bin/tsc", import.meta.resolve("typescript/package.json")));

rmSync(new URL("dist", import.meta.url), { recursive: true, force: true });
try {
  execFileSync(process.execPath, [tsc, "--project", here], { stdio: "inherit" });
} catch {
  process.exit(1); // tsc has said why
}

const options = {
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  bundle: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
};
const head = "// go-ws client for browsers and Node.js, Apache-2.0. Built from client/js of go-ws.";
await build({ ...options, outfile: "dist/client.js", banner: { js: head } });
// Properties that only the client itself sees. A name that users, sockets or frames have must not be among them.
const internal = /^(subscribers|failures|forget|live|buffered|opened|ended|answered|flush|refuse|accept|restore|limited|deliver|settle|sent|doubt|emit|dial|over|ask|put|check|drop)$/;
await build({ ...options, outfile: "dist/client.min.js", minify: true, mangleProps: internal });
