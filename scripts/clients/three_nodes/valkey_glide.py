"""valkey-glide against three nodes: `valkey_glide.py plain|cluster 2|3 PREFIX`, with PORT or CLUSTER_PORT of the node to begin with and PASSWORD."""

import asyncio
import os
import sys

import common
from glide import (Batch, ClusterBatch, ClusterScanCursor, GlideClient, GlideClientConfiguration, GlideClusterClient,
                   GlideClusterClientConfiguration, GlideError, NodeAddress, ProtocolVersion, ServerCredentials)

REQUEST_MS = 3000


class Adapter:
    """Calls of the asynchronous client, one after the other."""

    def __init__(self, client, loop):
        self.client = client
        self.run = loop.run_until_complete

    def set(self, key, value):
        common.equal(self.run(self.client.set(key, value)), "OK")

    def get(self, key):
        return self.run(self.client.get(key))

    def mset(self, pairs):
        self.run(self.client.mset(pairs))

    def mget(self, keys):
        return self.run(self.client.mget(keys))

    def pipeline(self, commands):
        batch = ClusterBatch(is_atomic=False) if isinstance(self.client, GlideClusterClient) else Batch(is_atomic=False)
        for command in commands:
            batch.custom_command(list(command))
        return self.run(self.client.exec(batch, raise_on_error=True))

    def scan(self):
        if not isinstance(self.client, GlideClusterClient):
            cursor = b"0"
            while True:
                cursor, page = self.run(self.client.scan(cursor, count=500))
                yield from page
                if cursor == b"0":
                    return
        cursor = ClusterScanCursor()
        while not cursor.is_finished():
            cursor, page = self.run(self.client.scan(cursor, count=500))
            yield from page


async def connect(kind, protocol):
    variable = "CLUSTER_PORT" if kind == "cluster" else "PORT"
    options = {
        "addresses": [NodeAddress("127.0.0.1", int(os.environ[variable]))],
        "credentials": ServerCredentials(os.environ["PASSWORD"]),
        "request_timeout": REQUEST_MS,
        "protocol": ProtocolVersion.RESP3 if protocol == 3 else ProtocolVersion.RESP2,
    }
    if kind == "cluster":
        return await GlideClusterClient.create(GlideClusterClientConfiguration(**options))
    return await GlideClient.create(GlideClientConfiguration(**options))


kind, protocol, prefix = sys.argv[1], int(sys.argv[2]), sys.argv[3]
loop = asyncio.new_event_loop()
client = Adapter(loop.run_until_complete(connect(kind, protocol)), loop)
common.everyday(client, prefix)
common.follow(client, prefix, GlideError)
loop.run_until_complete(client.client.close())
