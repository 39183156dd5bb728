"""Everyday operations through redis-py, over RESP2 and RESP3. Reads PORT and PASSWORD from the environment and
ends with an exception at the first reply that is not what Redis would answer."""

import os
import time

import redis

PORT = int(os.environ["PORT"])
PASSWORD = os.environ["PASSWORD"]


def connect(**options):
    return redis.Redis(port=PORT, **{"password": PASSWORD, "decode_responses": True, **options})


def equal(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


def refused(call, kind, text):
    try:
        reply = call()
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"{reply!r} instead of an error with {text}")


def strings(client):
    equal(client.set("name", "ringfort"), True)
    equal(client.get("name"), "ringfort")
    equal(client.get("missing"), None)
    equal(client.incrby("counter", 42), 42)
    equal(client.incrbyfloat("float", 1.5), 1.5)
    equal(client.set("name", "other", nx=True), None)
    equal(client.set("name", "newer", get=True), "ringfort")
    client.mset({"a": 1, "b": 2, "c": 3})
    equal(client.mget("a", "missing", "c"), ["1", None, "3"])
    equal(client.delete("a", "b", "missing"), 2)
    equal(client.setbit("bits", 7, 1), 0)
    equal(client.bitcount("bits"), 1)
    equal(client.getrange("name", 0, 2), "new")


def binary_and_big_values():
    client = connect(decode_responses=False)
    every_byte = bytes(range(256))
    client.set(every_byte, every_byte)
    equal(client.get(every_byte), every_byte)
    big = os.urandom(1 << 20) * 8
    client.set("big", big)
    assert client.get("big") == big, "8 MiB came back changed"
    client.close()


def collections(client):
    client.hset("hash", mapping={"x": 1, "y": 2})
    equal(client.hgetall("hash"), {"x": "1", "y": "2"})
    equal(client.hincrby("hash", "x", 9), 10)
    client.rpush("list", "a", "b", "c")
    equal(client.lrange("list", 0, -1), ["a", "b", "c"])
    equal(client.lpop("list"), "a")
    equal(client.lpos("list", "c"), 1)
    client.sadd("set", "a", "b")
    client.sadd("other", "b", "c")
    equal(set(client.sinter("set", "other")), {"b"})
    equal(set(client.sunion("set", "other")), {"a", "b", "c"})
    client.zadd("scores", {"one": 1.5, "two": 2, "three": -3.25})
    ranked = [tuple(pair) for pair in client.zrange("scores", 0, -1, withscores=True)]
    equal(ranked, [("three", -3.25), ("one", 1.5), ("two", 2.0)])
    equal(client.zscore("scores", "one"), 1.5)
    equal(client.zrank("scores", "two"), 2)


def expiry(client):
    client.set("soon", "gone", px=30)
    client.set("later", "there", ex=1000)
    time.sleep(0.06)
    equal(client.exists("soon"), 0)
    assert 990 < client.ttl("later") <= 1000
    equal(client.persist("later"), True)
    equal(client.ttl("later"), -1)


def pipelines(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set(f"pipe:{number}", number)
    for number in range(1000):
        pipeline.get(f"pipe:{number}")
    equal(pipeline.execute()[1000:], [str(number) for number in range(1000)])


def scanning(client):
    equal(len(set(client.scan_iter("pipe:*", count=50))), 1000)
    client.sadd("many", *range(1000))
    equal(len(set(client.sscan_iter("many"))), 1000)
    equal(dict(client.hscan_iter("hash")), {"x": "10", "y": "2"})


def databases(client, protocol):
    third = connect(db=3, protocol=protocol)
    third.set("only here", 1)
    equal(client.exists("only here"), 0)
    equal(third.dbsize(), 1)
    third.close()


def server(client):
    assert client.info()["redis_version"].startswith("7.2") or client.info()["redis_version"].startswith("7.0")
    equal(client.config_get("maxmemory"), {"maxmemory": "0"})
    client.client_setname("redis-py")
    equal(client.client_getname(), "redis-py")
    assert client.command_count() > 100


def errors(client):
    refused(lambda: client.llen("name"), redis.ResponseError, "WRONGTYPE")
    refused(lambda: client.execute_command("NOSUCHCOMMAND"), redis.ResponseError, "unknown command")


def authentication():
    refused(connect(password=None).ping, redis.AuthenticationError, "Authentication required")
    refused(connect(password="wrong").ping, redis.AuthenticationError, "invalid username-password pair")


for version in (2, 3):
    link = connect(protocol=version)
    link.flushall()
    strings(link)
    binary_and_big_values()
    collections(link)
    expiry(link)
    pipelines(link)
    scanning(link)
    databases(link, version)
    server(link)
    errors(link)
    link.close()
    print(f"redis-py {redis.__version__} over RESP{version}: ok")
authentication()
