"""redis-py against three nodes: `redis_py.py plain|cluster 2|3 PREFIX`, with PORT or CLUSTER_PORT of the node to begin with and PASSWORD."""

import os
import sys

import common
import redis
from redis.cluster import ClusterNode, RedisCluster

PASSWORD = os.environ["PASSWORD"]
# A node that sleeps must not hold a client up for long.
SOCKET_SECONDS = 3.0


class Adapter:
    def __init__(self, client):
        self.client = client
        self.set, self.get, self.mset, self.mget = client.set, client.get, client.mset, client.mget

    def pipeline(self, commands):
        pipeline = self.client.pipeline() if isinstance(self.client, RedisCluster) else self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute()

    def scan(self):
        return self.client.scan_iter(count=500)


def connect(kind, protocol):
    options = {"password": PASSWORD, "protocol": protocol, "socket_timeout": SOCKET_SECONDS}
    if kind == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", int(os.environ["CLUSTER_PORT"]))], **options)
    return redis.Redis(port=int(os.environ["PORT"]), **options)


kind, protocol, prefix = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = Adapter(connect(kind, protocol))
common.everyday(client, prefix)
common.follow(client, prefix, (redis.RedisError, OSError))
