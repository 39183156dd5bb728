// Everyday operations through ioredis' Cluster. Reads CLUSTER_PORT and PASSWORD from the environment and ends with
// an exception at the first reply that is not what a Redis Cluster would answer.

import assert from "node:assert/strict";
import { Cluster } from "ioredis";

const start = { port: Number(process.env.CLUSTER_PORT), host: "127.0.0.1" };
const cluster = new Cluster([start], {
  redisOptions: { password: process.env.PASSWORD },
  clusterRetryStrategy: null,
});

async function keys() {
  for (let number = 0; number < 1000; number++) await cluster.set(`key:${number}`, number);
  for (let number = 0; number < 1000; number++) assert.equal(await cluster.get(`key:${number}`), String(number));
  assert.equal(await cluster.incrby("counter", 42), 42);
  await cluster.rpush("list", "a", "b", "c");
  assert.deepEqual(await cluster.lrange("list", 0, -1), ["a", "b", "c"]);
  await cluster.mset({ "{tag}a": 1, "{tag}b": 2 });
  assert.deepEqual(await cluster.mget("{tag}a", "{tag}b", "{tag}c"), ["1", "2", null]);
}

async function pipelines() {
  const pipeline = cluster.pipeline();
  for (let number = 0; number < 500; number++) pipeline.set(`{pipe}:${number}`, number);
  for (let number = 0; number < 500; number++) pipeline.get(`{pipe}:${number}`);
  const replies = await pipeline.exec();
  for (let number = 0; number < 500; number++) assert.deepEqual(replies[500 + number], [null, String(number)]);
}

async function keyspace() {
  const found = new Set();
  for (const node of cluster.nodes("master")) {
    for await (const page of node.scanStream({ match: "{pipe}:*", count: 100 })) page.forEach((key) => found.add(key));
  }
  assert.equal(found.size, 500);
}

async function topology() {
  assert.equal(cluster.nodes("slave").length, 0);
  const ranges = await cluster.cluster("SLOTS");
  const slots = ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, at) => first + at));
  assert.deepEqual(slots.sort((a, b) => a - b), Array.from({ length: 16384 }, (_, slot) => slot));
  assert.match(await cluster.cluster("INFO"), /^cluster_state:ok\r\n/);
}

async function errors() {
  await assert.rejects(cluster.mget("a", "b"), /slot/i);
  await assert.rejects(cluster.llen("counter"), /WRONGTYPE/);
}

await new Promise((resolve, reject) => {
  cluster.once("ready", resolve);
  cluster.once("error", reject);
});
await Promise.all(cluster.nodes("master").map((node) => node.flushall()));
for (const step of [keys, pipelines, keyspace, topology, errors]) await step();
await cluster.quit();
console.log("ioredis Cluster: ok");
