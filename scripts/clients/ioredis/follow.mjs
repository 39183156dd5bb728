// ioredis and its Cluster against three nodes: `follow.mjs plain|cluster PREFIX`, with PORT or CLUSTER_PORT of the node to begin
// with and PASSWORD. The same steps as three_nodes/common.py; what it prints is read by three_nodes.py.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, Redis } from "ioredis";

const BIG_BYTES = 4 << 20;
const PIPELINED = 300;
const RETRY_MS = 20;
// A node that sleeps must not hold a client up for long.
const COMMAND_MS = 3000;

const [kind, prefix] = process.argv.slice(2);
const host = "127.0.0.1";
const password = process.env.PASSWORD;
const client =
  kind === "cluster"
    ? new Cluster([{ host, port: Number(process.env.CLUSTER_PORT) }], { redisOptions: { password, commandTimeout: COMMAND_MS } })
    : new Redis({ host, port: Number(process.env.PORT), password, commandTimeout: COMMAND_MS });
// Told by the calls that fail as well.
client.on("error", () => {});

async function everyday() {
  const written = new Set();
  const key = (name) => {
    written.add(`${prefix}:${name}`);
    return `${prefix}:${name}`;
  };
  for (let number = 0; number < 200; number++) await client.set(key(number), number);
  for (let number = 0; number < 200; number++) assert.equal(await client.get(`${prefix}:${number}`), String(number));
  assert.equal(await client.get(`${prefix}:missing`), null);
  // The Cluster's pipeline is for keys of one slot.
  const names = Array.from({ length: PIPELINED }, (_, number) => key(`{${prefix}}pipe:${number}`));
  const pipeline = client.pipeline();
  for (const name of names) pipeline.set(name, `${name}!`);
  for (const name of names) pipeline.get(name);
  const replies = await pipeline.exec();
  assert.deepEqual(replies.slice(PIPELINED), names.map((name) => [null, `${name}!`]));
  const tagged = (letter) => key(`{${prefix}}${letter}`);
  await client.mset({ [tagged("a")]: "a", [tagged("b")]: "b" });
  assert.deepEqual(await client.mget(tagged("a"), tagged("b"), `{${prefix}}missing`), ["a", "b", null]);
  const big = randomBytes(BIG_BYTES);
  await client.set(key("big"), big);
  assert.ok(big.equals(await client.getBuffer(`${prefix}:big`)), "a big value came back changed");
  const found = new Set();
  for (const node of kind === "cluster" ? client.nodes("master") : [client]) {
    for await (const page of node.scanStream({ count: 500 })) page.filter((name) => name.startsWith(`${prefix}:`)).forEach((name) => found.add(name));
  }
  assert.deepEqual(found, written);
}

async function follow() {
  let ended = false;
  process.stdin.on("end", () => (ended = true)).resume();
  console.log(`following ${prefix}`);
  let number = 0;
  while (!ended) {
    const name = `${prefix}:follow:${number}`;
    try {
      await client.set(name, number);
      assert.equal(await client.get(name), String(number));
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      console.log(`error ${error.name}: ${error.message}`.replaceAll("\n", " ").slice(0, 200));
      await sleep(RETRY_MS);
      continue;
    }
    console.log(`ok ${number}`);
    number++;
  }
  const lost = [];
  for (let at = 0; at < number; at++) if ((await client.get(`${prefix}:follow:${at}`)) !== String(at)) lost.push(at);
  assert.deepEqual(lost, [], `${lost.length} of ${number} acknowledged writes are missing`);
  console.log(`right ${number}`);
}

await everyday();
await follow();
client.disconnect();
