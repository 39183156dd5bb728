"""The judge on histories that are known to be good or bad: it must tell them apart before its word counts."""

import random
import sys
import time

import history
from history import NEVER, OK, REFUSED, UNKNOWN, Operation


def op(kind, argument, invoked, returned, value=None, outcome=OK, client=0):
    return Operation(client, kind, argument, invoked, returned, outcome, value)


def unknown(kind, argument, invoked):
    return op(kind, argument, invoked, NEVER, outcome=UNKNOWN)


def written(value, invoked, returned):
    return op("set", value, invoked, returned, b"OK")


def read(value, invoked, returned):
    return op("get", None, invoked, returned, value)


# name -> operations
GOOD = {
    "one after another": [written(b"a", 0, 1), read(b"a", 2, 3), written(b"b", 4, 5), read(b"b", 6, 7)],
    "a read beside a write sees either": [
        written(b"a", 0, 1), written(b"b", 2, 5), read(b"b", 3, 4), read(b"b", 4.5, 6)],
    "two writes at once end in either order": [
        written(b"a", 0, 4), written(b"b", 1, 3), read(b"a", 5, 6)],
    "a write without an answer is seen late": [
        written(b"a", 0, 1), unknown("set", b"b", 2), read(b"a", 3, 4), read(b"b", 90, 91)],
    "a write without an answer is never seen": [
        written(b"a", 0, 1), unknown("set", b"b", 2), read(b"a", 3, 4), read(b"a", 90, 91)],
    "INCR without an answer counts, or not": [
        op("incrby", 1, 0, 1, 1), unknown("incrby", 1, 2), unknown("incrby", 1, 3), op("incrby", 1, 4, 5, 3)],
    "a refused write is not there": [
        written(b"a", 0, 1), op("set", b"b", 2, 3, outcome=REFUSED), read(b"a", 4, 5)],
    "a deletion nobody confirmed makes room for SET NX": [
        written(b"a", 0, 1), unknown("del", None, 2), op("setnx", b"b", 3, 4, b"OK"), read(b"b", 5, 6)],
    "GETSET hands the values on": [
        op("getset", b"a", 0, 1, None), op("getset", b"b", 2, 3, b"a"), op("getdel", None, 4, 5, b"b"),
        op("del", None, 6, 7, 0)],
    "appended in the order of the lengths": [
        op("append", b"xx", 0, 5, 3), op("append", b"y", 0, 5, 1), read(b"yxx", 6, 7)],
    "pushed": [
        op("rpush", b"1", 0, 1, 1), unknown("rpush", b"2", 2), op("rpush", b"3", 3, 4, 3),
        op("lrange", None, 5, 6, (b"1", b"2", b"3"))],
}

# name -> (operations, a word of the explanation)
BAD = {
    "stale read": ([
        written(b"a", 0, 1), written(b"b", 2, 3), read(b"a", 4, 5), read(b"b", 6, 7)], "stale read"),
    "a read that goes back": ([
        written(b"a", 0, 1), unknown("set", b"b", 2), read(b"b", 3, 4), read(b"a", 5, 6), read(b"b", 7, 8)], "stale read"),
    "lost write": ([
        written(b"a", 0, 1), written(b"b", 2, 3), read(b"a", 4, 5), read(b"a", 6, 7)], "lost write"),
    "all lost": ([written(b"a", 0, 1), read(None, 2, 3), read(None, 4, 5)], "lost write"),
    "value from nowhere": ([written(b"a", 0, 1), read(b"z", 2, 3)], ""),
    "phantom after a definite error": ([
        written(b"a", 0, 1), op("set", b"b", 2, 3, outcome=REFUSED), read(b"b", 4, 5)], "phantom"),
    "INCR applied twice": ([op("incrby", 1, 0, 1, 1), op("incrby", 1, 2, 3, 3)], "a write's reply"),
    "INCR without an answer applied twice": ([
        op("incrby", 1, 0, 1, 1), unknown("incrby", 1, 2), op("get", None, 4, 5, b"3")], ""),
    "a refused INCR counted": ([
        op("incrby", 1, 0, 1, 1), op("incrby", 1, 2, 3, outcome=REFUSED), read(b"2", 4, 5)], ""),
    "two SET NX both won": ([
        op("setnx", b"a", 0, 5, b"OK"), op("setnx", b"b", 0, 5, b"OK")], ""),
    "two GETSET saw the same value": ([
        written(b"a", 0, 1), op("getset", b"b", 2, 5, b"a"), op("getset", b"c", 2, 5, b"a")], ""),
    "seen before it was sent": ([read(b"a", 0, 1), written(b"a", 2, 3)], ""),
    "an element pushed twice": ([
        op("rpush", b"1", 0, 1, 1), op("lrange", None, 2, 3, (b"1", b"1"))], ""),
    "an acknowledged APPEND is gone": ([
        op("append", b"x", 0, 1, 1), op("append", b"y", 2, 3, 2), read(b"y", 4, 5)], ""),
}


def random_history(source, clients=6, count=180):
    """What a correct register would answer to clients that overlap: each operation takes effect at one moment between
    its sending and its return; some are never answered, and then have had their effect or not."""
    state, operations, free_at = None, [], [source.random() for _ in range(clients)]
    planned = []
    for number in range(count):
        client = min(range(clients), key=free_at.__getitem__)
        invoked = free_at[client]
        effect = invoked + source.expovariate(2)
        returned = effect + source.expovariate(2)
        free_at[client] = returned + source.random()
        kind = source.choice(("set", "get", "get", "setnx", "getset", "del"))
        argument = b"%d" % number if kind in ("set", "setnx", "getset") else None
        planned.append((effect, client, kind, argument, invoked, returned))
    for effect, client, kind, argument, invoked, returned in sorted(planned):
        fate = source.random()
        if fate < 0.03:
            operations.append(unknown(kind, argument, invoked))
            if fate < 0.015:
                state, _ = history.STEPS[kind](state, argument)
            continue
        state, reply = history.STEPS[kind](state, argument)
        operations.append(op(kind, argument, invoked, returned, reply, client=client))
    return operations


def spoil(operations, source):
    """Turns one read into a stale one: the value before an acknowledged, settled SET. None if there is no such place."""
    for at, one in enumerate(operations):
        if one.kind == "get" and one.value is not None and source.random() < 0.2:
            settled = [w for w in operations if w.kind == "set" and w.outcome == OK and w.returned < one.invoked]
            if len(settled) > 3:
                oldest = min(settled, key=lambda w: w.returned)
                newer = [w for w in settled if w.invoked > oldest.returned]
                if newer and oldest.argument != one.value:
                    return operations[:at] + [one._replace(value=oldest.argument)] + operations[at + 1:]
    return None


def main():
    failures = []
    for name, operations in GOOD.items():
        verdict = history.judge(operations)
        if not verdict.good:
            failures.append(f"good history refused: {name}: {verdict.why}")
    for name, (operations, word) in BAD.items():
        verdict = history.judge(operations)
        if verdict.good is not False or word not in verdict.why:
            failures.append(f"bad history: {name}: {verdict.good}, {verdict.why}")
    started, spoiled = time.monotonic(), 0
    for seed in range(60):
        source = random.Random(seed)
        operations = random_history(source)
        if not history.judge(operations).good:
            failures.append(f"random history {seed} is correct and was not found so")
        bad = spoil(operations, source)
        if bad:
            spoiled += 1
            if history.search(bad)[0] is not False:
                failures.append(f"random history {seed} with a stale read was accepted")
    took = time.monotonic() - started
    if spoiled < 20:
        failures.append(f"only {spoiled} histories could be spoiled")
    print("\n".join(failures) or f"history: {len(GOOD)} good and {len(BAD)} bad histories told apart; "
          f"60 random ones, {spoiled} of them spoiled, in {took:.1f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
