// Everyday operations through ioredis. Reads PORT and PASSWORD from the environment and ends with an
// exception at the first reply that is not what Redis would answer.

import assert from "node:assert/strict";
import Redis from "ioredis";

const port = Number(process.env.PORT);
const password = process.env.PASSWORD;
const connect = (options = {}) =>
  new Redis({ port, host: "127.0.0.1", password, retryStrategy: null, ...options });

async function strings(redis) {
  assert.equal(await redis.set("name", "ringfort"), "OK");
  assert.equal(await redis.get("name"), "ringfort");
  assert.equal(await redis.get("missing"), null);
  assert.equal(await redis.incrby("counter", 42), 42);
  assert.equal(await redis.set("name", "other", "NX"), null);
  await redis.mset({ a: 1, b: 2, c: 3 });
  assert.deepEqual(await redis.mget("a", "missing", "c"), ["1", null, "3"]);
  assert.equal(await redis.del("a", "b", "missing"), 2);
  assert.equal(await redis.incrbyfloat("float", 1.5), "1.5");
}

async function binaryAndBigValues(redis) {
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, number) => number));
  await redis.set(everyByte, everyByte);
  assert.deepEqual(await redis.getBuffer(everyByte), everyByte);
  const big = Buffer.alloc(8_000_000, "0123456789\r\n");
  await redis.set("big", big);
  assert.equal(Buffer.compare(await redis.getBuffer("big"), big), 0);
}

async function collections(redis) {
  await redis.hset("hash", { x: 1, y: 2 });
  assert.deepEqual(await redis.hgetall("hash"), { x: "1", y: "2" });
  assert.equal(await redis.hincrby("hash", "x", 9), 10);
  await redis.rpush("list", "a", "b", "c");
  assert.deepEqual(await redis.lrange("list", 0, -1), ["a", "b", "c"]);
  assert.equal(await redis.lpop("list"), "a");
  await redis.sadd("set", "a", "b");
  await redis.sadd("other", "b", "c");
  assert.deepEqual(await redis.sinter("set", "other"), ["b"]);
  assert.equal((await redis.sunion("set", "other")).length, 3);
  await redis.zadd("scores", 1.5, "one", 2, "two", -3.25, "three");
  assert.deepEqual(await redis.zrange("scores", 0, -1, "WITHSCORES"), ["three", "-3.25", "one", "1.5", "two", "2"]);
  assert.equal(await redis.zrank("scores", "two"), 2);
}

async function expiry(redis) {
  await redis.set("soon", "gone", "PX", 30);
  await redis.set("later", "there", "EX", 1000);
  await new Promise((wake) => setTimeout(wake, 60));
  assert.equal(await redis.exists("soon"), 0);
  const left = await redis.ttl("later");
  assert.ok(left > 990 && left <= 1000, `TTL of ${left}`);
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  for (let number = 0; number < 1000; number++) pipeline.set(`pipe:${number}`, number);
  for (let number = 0; number < 1000; number++) pipeline.get(`pipe:${number}`);
  const replies = await pipeline.exec();
  for (let number = 0; number < 1000; number++) {
    assert.deepEqual(replies[1000 + number], [null, String(number)]);
  }
}

async function scanning(redis) {
  const keys = new Set();
  for await (const page of redis.scanStream({ match: "pipe:*", count: 100 })) page.forEach((key) => keys.add(key));
  assert.equal(keys.size, 1000);
}

async function databases(redis) {
  const third = connect({ db: 3 });
  await third.set("only here", 1);
  assert.equal(await redis.exists("only here"), 0);
  assert.equal(await third.dbsize(), 1);
  await third.quit();
}

async function errors(redis) {
  await assert.rejects(redis.llen("name"), /^ReplyError: WRONGTYPE/);
  await assert.rejects(redis.call("NOSUCHCOMMAND"), /ERR unknown command/);
}

async function authentication() {
  const stranger = connect({ password: undefined, enableReadyCheck: false });
  stranger.on("error", () => {});
  await assert.rejects(stranger.get("key"), /NOAUTH/);
  stranger.disconnect();
  const wrong = connect({ password: "wrong" });
  const error = await new Promise((resolve) => wrong.once("error", resolve));
  assert.match(String(error), /WRONGPASS/);
  wrong.disconnect();
}

const redis = connect();
await redis.flushall();
for (const step of [strings, binaryAndBigValues, collections, expiry, pipelines, scanning, databases, errors]) {
  await step(redis);
}
await authentication();
await redis.quit();
console.log("ioredis: ok");
