"""Everyday operations through redis-py's RedisCluster, over RESP2 and RESP3. Reads CLUSTER_PORT and PASSWORD from the
environment and ends with an exception at the first reply that is not what a Redis Cluster would answer."""

import os

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

PORT = int(os.environ["CLUSTER_PORT"])
PASSWORD = os.environ["PASSWORD"]


def connect(protocol):
    start = ClusterNode("127.0.0.1", PORT)
    return RedisCluster(startup_nodes=[start], password=PASSWORD, protocol=protocol, decode_responses=True)


def equal(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


def topology(client):
    """Every slot has one leader, no node is a replica, and SLOTS, SHARDS and NODES agree."""
    nodes = client.get_nodes()
    assert nodes and all(node.server_type == "primary" for node in nodes), nodes
    for key in ("foo", "bar", "{tag}a"):
        assert client.get_node_from_key(key) in nodes
    covered = []
    for first, last in client.cluster_slots():
        covered += range(first, last + 1)
    equal(sorted(covered), list(range(16384)))
    listed = client.cluster_nodes()
    equal({node.name for node in nodes}, set(listed))
    equal({"master"}, {flag for node in listed.values() for flag in node["flags"].split(",") if flag != "myself"})
    shards = client.cluster_shards()
    equal(len(shards), len(nodes))
    info = client.cluster_info(target_nodes=nodes[0])
    equal((info["cluster_state"], info["cluster_slots_assigned"]), ("ok", "16384"))


def keys(client):
    for number in range(1000):
        equal(client.set(f"key:{number}", number), True)
    equal([client.get(f"key:{number}") for number in range(1000)], [str(number) for number in range(1000)])
    equal(client.incrby("counter", 42), 42)
    client.rpush("list", "a", "b", "c")
    equal(client.lrange("list", 0, -1), ["a", "b", "c"])
    # Split by the client, a part for each slot.
    client.mset_nonatomic({f"spread:{number}": number for number in range(100)})
    equal(client.mget_nonatomic("spread:1", "missing", "spread:99"), ["1", None, "99"])
    equal(client.delete("spread:1", "spread:2", "missing"), 2)
    client.mset({"{tag}a": 1, "{tag}b": 2})
    equal(client.mget("{tag}a", "{tag}b"), ["1", "2"])


def pipelines(client):
    pipeline = client.pipeline()
    for number in range(1000):
        pipeline.set(f"pipe:{number}", number)
    for number in range(1000):
        pipeline.get(f"pipe:{number}")
    equal(pipeline.execute()[1000:], [str(number) for number in range(1000)])


def keyspace(client):
    found = list(client.scan_iter("pipe:*", count=100))
    equal((len(found), len(set(found))), (1000, 1000))
    equal(len(client.keys("pipe:*")), 1000)
    assert client.dbsize() >= 2000
    slot = key_slot(b"{tag}a")
    equal(client.cluster_keyslot("{tag}a"), slot)
    equal(client.cluster_countkeysinslot(slot), 2)
    equal(set(client.cluster_get_keys_in_slot(slot, 10)), {"{tag}a", "{tag}b"})


def errors(client):
    for call in (lambda: client.execute_command("MGET", "a", "b"), lambda: client.rename("a", "b")):
        try:
            reply = call()
        except (redis.RedisError, RedisClusterException) as error:
            assert "slot" in str(error).lower(), error
        else:
            raise AssertionError(f"{reply!r} for keys of several slots")
    try:
        client.llen("counter")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error), error
    else:
        raise AssertionError("LLEN of a string")


for version in (2, 3):
    link = connect(version)
    link.flushall()
    topology(link)
    keys(link)
    pipelines(link)
    keyspace(link)
    errors(link)
    link.close()
    print(f"redis-py {redis.__version__} RedisCluster over RESP{version}: ok")
