// The package as others get it.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { newNet, record, settle } from "./kit.js";

const here = new URL("..", import.meta.url);
const path = (name) => fileURLToPath(new URL(name, here));
const read = (name) => readFileSync(path(name), "utf8");
const manifest = JSON.parse(read("package.json"));

test("it is under 5 kB, minified and compressed", (t) => {
  const size = gzipSync(read("dist/client.min.js"), { level: 9 }).length;
  t.diagnostic(`${size} bytes`);
  assert.ok(size < 5000, `${size} bytes`);
});

test("it needs nothing at run time, and pins what it is built with", () => {
  assert.deepEqual([manifest.dependencies, manifest.peerDependencies, manifest.optionalDependencies], [undefined, undefined, undefined]);
  for (const [name, version] of Object.entries(manifest.devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/, name);
  for (const name of ["dist/client.js", "dist/client.min.js"]) assert.doesNotMatch(read(name), /\b(import|require)\s*\(|^import\b/m, name);
});

test("its name leads to the module and its types", async () => {
  assert.equal(import.meta.resolve("go-ws-client"), new URL("dist/client.js", here).href);
  const names = (module) => Object.keys(module).sort();
  assert.deepEqual(names(await import("go-ws-client")), ["Client", "ClientError"]);
  assert.deepEqual(names(await import("go-ws-client/client.min.js")), ["Client", "ClientError"]);
  read(manifest.exports["."].types);
});

test("what is packed is the build, the licence and the words about it", () => {
  const out = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: path("."), encoding: "utf8" });
  const packed = [JSON.parse(out)].flat()[0] ?? Object.values(JSON.parse(out))[0];
  const files = packed.files.map((file) => file.path).sort();
  const types = readdirSync(path("dist")).filter((name) => name.endsWith(".d.ts")).map((name) => `dist/${name}`);
  assert.deepEqual(files, ["LICENSE", "README.md", "dist/client.js", "dist/client.min.js", "package.json", ...types].sort());
});

test("the minified module does what the other one does", async (t) => {
  const { Client } = await import("go-ws-client/client.min.js");
  const net = newNet(t);
  const client = new Client({ url: "ws://hub.test/ws", WebSocket: net.WebSocket, getToken: () => "token" });
  t.after(() => client.close());
  const log = record(client, "message", "connect", "disconnect");
  client.subscribe("news", ({ data }) => log.push(data), { onSubscribed: () => log.push("subscribed"), onError: ({ code }) => log.push(code) });
  await settle();
  net.last.open();
  const asked = client.request({ type: "say" });
  const [{ id }, say] = net.last.sent;
  net.last.say({ type: "error", channel: "news", id, data: { code: "forbidden" } });
  client.subscribe("other", () => {}, { onSubscribed: () => log.push("subscribed") })();
  client.subscribe("other", ({ data }) => log.push(data), { onSubscribed: () => log.push("other") });
  net.last.welcome();
  net.last.say({ type: "event", channel: "other", data: 1 });
  net.last.say({ type: "reply", id: say.id, data: 2 });
  net.last.say({ type: "event" });
  assert.equal((await asked).data, 2);
  client.close();
  assert.deepEqual(log, [["connect", { attempt: 1 }], "forbidden", "other", 1, ["message", { type: "event" }], ["disconnect", { code: 1000, reason: "closed by the client" }]]);
});

/** What tsc says of a file in test/types, a line number and a message each. */
function compile(name) {
  const tsc = fileURLToPath(new URL("bin/tsc", import.meta.resolve("typescript/package.json")));
  const { stdout, stderr, status } = spawnSync(process.execPath, [tsc, "--project", path("test/types"), "--pretty", "false"], { encoding: "utf8" });
  const found = [...stdout.matchAll(/^([^\n(]+)\((\d+),\d+\): error (.*)$/gm)].filter(([, file]) => file.endsWith(name));
  assert.equal(stderr, "");
  return { status, errors: found.map(([, , line, message]) => ({ line: Number(line), message })) };
}

test("its types allow what the documents say", () => {
  assert.deepEqual(compile("good.ts").errors, []);
});

test("its types refuse mistakes, each where it is made", () => {
  const wanted = read("test/types/mistakes.ts").split("\n").flatMap((line, i) => (line.includes("// wrong:") ? [i + 1] : []));
  const { status, errors } = compile("mistakes.ts");
  assert.notEqual(status, 0);
  assert.deepEqual([...new Set(errors.map(({ line }) => line))], wanted, JSON.stringify(errors, null, 1));
});
