"""The common script of the Python clients against three nodes: everyday operations, then writes and reads while leaders change.

Knows no client: each program brings an object with `set`, `get`, `mset`, `mget`, `pipeline`, `scan`, and the exception that its calls raise.
What it prints is read by scripts/clients/three_nodes.py, which says what the lines mean.
"""

import os
import select
import sys
import time

BIG_BYTES = 4 << 20
PIPELINED = 300
RETRY_SECONDS = 0.02


def equal(found, wanted):
    assert found == wanted, f"{found!r:.300}, not {wanted!r:.300}"


def everyday(client, prefix):
    """`client` returns bytes; every key begins with the prefix, as other programs work beside this one."""
    written = set()

    def key(name):
        written.add(f"{prefix}:{name}".encode())
        return f"{prefix}:{name}"

    for number in range(200):
        client.set(key(number), str(number))
    equal([client.get(f"{prefix}:{number}") for number in range(200)], [b"%d" % number for number in range(200)])
    equal(client.get(f"{prefix}:missing"), None)
    for tag in ("{" + prefix + "}", ""):
        names = [key(f"{tag}pipe:{number}") for number in range(PIPELINED)]
        replies = client.pipeline([("SET", name, f"{name}!") for name in names] + [("GET", name) for name in names])
        equal([reply for reply in replies[:PIPELINED] if reply not in (True, b"OK", "OK")], [])
        wrong = [(name, reply) for name, reply in zip(names, replies[PIPELINED:]) if reply != f"{name}!".encode()]
        equal(wrong, [])
    together = {key("{" + prefix + "}" + letter): letter for letter in "abc"}
    client.mset(together)
    equal(client.mget(list(together) + [f"{prefix}:" + "{" + prefix + "}missing"]), [b"a", b"b", b"c", None])
    big = os.urandom(1 << 16) * (BIG_BYTES >> 16)
    client.set(key("big"), big)
    assert client.get(f"{prefix}:big") == big, "a big value came back changed"
    found = [name for name in client.scan() if name.startswith(f"{prefix}:".encode())]
    equal((len(found), set(found)), (len(written), written))


def follow(client, prefix, errors):
    """Goes on until standard input ends, each number until it is acknowledged; then everything must be there."""
    say(f"following {prefix}")
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        name = f"{prefix}:follow:{number}"
        try:
            client.set(name, str(number))
            equal(client.get(name), b"%d" % number)
        except errors as error:
            say(f"error {type(error).__name__}: {error}".replace("\n", " ")[:200])
            time.sleep(RETRY_SECONDS)
            continue
        say(f"ok {number}")
        number += 1
    lost = [at for at in range(number) if client.get(f"{prefix}:follow:{at}") != b"%d" % at]
    assert not lost, f"{len(lost)} of {number} acknowledged writes are missing: {lost[:10]}"
    say(f"right {number}")


def own_output():
    """The standard output for our own lines alone. valkey-glide's core logs there, in the midst of a line too: that goes to the errors."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


OUTPUT = own_output()


def say(line):
    print(line, file=OUTPUT, flush=True)
