"""Judges what clients saw: is there an order of a key's operations that explains every reply?

Each key is judged by itself (linearizability is composable). An operation whose outcome is unknown may be applied at any time after it was
sent, or never. One that certainly was not applied takes no part: if its value is seen, nothing explains it. A key that cannot be judged within
the bounds is undecided, which is no better than a violation for a run that has to show that there is none.

    python3 scripts/lib/history.py FILE [--seconds N] [--configurations N] [--key NAME] [--all]

judges the histories of a file again: lines of JSON, [key, client, kind, argument, invoked, returned, outcome, value]. Exit code 1 unless all
of them are linearizable.

Knows no sockets and no faults: operations come in, verdicts go out. How an order is searched for: history_search.py.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any, NamedTuple

import history_search
from history_search import NEVER, OK, READS, REFUSED, STEPS, UNKNOWN, Bounds, Operation

# For all keys of a run together; what is not judged by then is undecided.
SECONDS_MAX = 60.0
# Of these seconds, the part after which no verdict is looked for any more: the rest is for naming what the violations are.
SEARCH_SHARE = 0.75
# Configurations looked at per key: a bound on memory.
CONFIGURATIONS_MAX = 400_000
# All keys get a look of so many first, so that one that takes long does not keep the others waiting until the time is over.
FIRST_LOOK_MAX = 20_000
# What a process of the judge may be late with its word.
GRACE_SECONDS = 5.0
AROUND_MAX = 14
# Keys that the program names.
WORDS_MAX = 12


class Verdict(NamedTuple):
    """`good` is None when the search was given up. `culprit` is the operation whose reply nothing explains any more."""

    good: Any
    why: str = ""
    culprit: Any = None
    around: tuple = ()


def judge_all(histories, seconds=SECONDS_MAX, configurations=CONFIGURATIONS_MAX):
    """The verdicts on lists of operations, each on a key of its own that was absent at first; on all processors."""
    histories = list(histories)
    began = time.monotonic()
    search_until, until = began + seconds * SEARCH_SHARE, began + seconds
    everything = range(len(histories))
    # Processes of their own making, which end when told so. Forked ones would have the caller's locks and its way to take SIGTERM: a
    # multiprocessing.Pool ends its processes by that signal, and one that does not die of it is waited for without end.
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        found = on_all(pool, history_search.search, histories, everything, Bounds(min(FIRST_LOOK_MAX, configurations), search_until))
        if configurations > FIRST_LOOK_MAX:
            again = [number for number in everything if found[number].good is None]
            found.update(on_all(pool, history_search.search, histories, again, Bounds(configurations, search_until)))
        bad = [number for number in everything if found[number].good is False]
        explained = on_all(pool, explain, histories, bad, Bounds(configurations, until))
    verdicts = [verdict_of(histories[number], found[number]) for number in everything]
    for number, verdict in explained.items():
        # That nobody could say why changes nothing.
        verdicts[number] = verdict if verdict.good is False else verdicts[number]
    return verdicts


def on_all(pool, function, histories, numbers, bounds):
    """number -> what the function says of that history; undecided where the process that should say it is gone."""
    given, results = {}, {}
    try:
        for number in numbers:
            given[number] = pool.submit(function, histories[number], bounds)
    except BrokenExecutor:
        # Those that were not taken any more are found missing below.
        pass
    for number in numbers:
        try:
            results[number] = given[number].result(max(bounds.deadline + GRACE_SECONDS - time.monotonic(), 0.0))
        except (KeyError, BrokenExecutor):
            results[number] = history_search.Found(None, 0, "a process of the judge was ended")
        except concurrent.futures.TimeoutError:
            given[number].cancel()
            results[number] = history_search.Found(None, 0, "no verdict came in time")
    return results


def verdict_of(operations, found):
    """The verdict where nothing could be explained."""
    if found.good is not False:
        return Verdict(found.good, found.why)
    last = max((one for one in operations if one.outcome == OK), key=lambda one: one.returned)
    return Verdict(False, "nothing explains this history; there was no time to say why", last)


def judge(operations, bounds=Bounds(CONFIGURATIONS_MAX)):
    """The verdict on one key."""
    found = history_search.search(operations, bounds)
    return explain(operations, bounds) if found.good is False else Verdict(found.good, found.why)


def explain(operations, bounds):
    """Names the first reply that nothing explains: the history is cut at a return, ever nearer to where it begins to fail."""
    answered = sorted((operation for operation in operations if operation.outcome == OK), key=lambda one: one.returned)
    low, high, certain = 0, len(answered) - 1, True
    while low < high:
        middle = (low + high) // 2
        good = history_search.search(cut(operations, answered[middle].returned), bounds).good
        if good is False:
            high = middle
        else:
            low = middle + 1
            certain = certain and good is not None
    culprit = answered[high]
    without = [operation for operation in operations if operation is not culprit]
    near = [one for one in sorted(without, key=lambda one: one.invoked) if one.invoked <= culprit.returned][-AROUND_MAX:]
    why = name_of(culprit, without, bounds) + ("" if certain else "; it may have begun earlier: the search for that was given up")
    return Verdict(False, why, culprit, tuple(near))


def cut(operations, at):
    """What was known at a moment: later ones are not there yet, those under way are unknown."""
    known = (one for one in operations if one.invoked <= at)
    return [one._replace(returned=NEVER, outcome=UNKNOWN) if one.returned > at and one.outcome == OK else one for one in known]


def name_of(culprit, others, bounds):
    """A word for what went wrong; it helps to read the report and decides nothing."""
    refused = [one for one in others if one.outcome == REFUSED and one.argument is not None]
    if culprit.kind in ("get", "getset", "getdel") and culprit.value is not None:
        if any(one.argument == culprit.value for one in refused) and not any(
                one.argument == culprit.value for one in others if one.outcome != REFUSED):
            return "phantom: a value that was certainly not applied"
    if culprit.kind in READS:
        good = history_search.search(others, bounds).good
        if good:
            return "stale read: the rest of the history is in order without it"
        return ("lost write, or one applied twice: later replies agree with this read" if good is False else
                "lost write, stale read, or one applied twice: nothing explains this read")
    return "a write's reply disagrees with what was acknowledged: something is lost, or was applied twice"


def load(path):
    """The histories of a file, by key, in the order in which the keys appear."""
    keys = {}
    with open(path) as lines:
        for line in lines:
            key, client, kind, argument, invoked, returned, outcome, value = json.loads(line)
            returned = NEVER if returned is None else returned
            # A load may write down numbers alone; a write is acknowledged with OK, which is what is expected of it here.
            seen = b"OK" if kind == "set" and outcome == OK and not isinstance(value, str) else decoded(value)
            keys.setdefault(key, []).append(Operation(client, kind, decoded(argument), invoked, returned, outcome, seen))
    return keys


def save(path, histories):
    """Writes (key, operations) for `load`; returns the command that judges them again."""
    with open(path, "w") as file:
        for key, operations in histories:
            for one in sorted(operations, key=lambda one: one.invoked):
                returned = None if one.returned == NEVER else one.returned
                words = [key, one.client, one.kind, encoded(one.argument), one.invoked, returned, one.outcome, encoded(one.value)]
                file.write(json.dumps(words) + "\n")
    return f"python3 {os.path.relpath(os.path.abspath(__file__))} {os.path.relpath(path)} --seconds {SECONDS_MAX * 10:.0f}"


def encoded(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [encoded(one) for one in value] if isinstance(value, tuple) else value


def decoded(value):
    if isinstance(value, str):
        return value.encode("latin-1")
    return tuple(decoded(one) for one in value) if isinstance(value, list) else value


def main():
    parser = argparse.ArgumentParser(prog="history.py", description="Judges the histories of a file: is there an order that explains every reply?")
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, default=SECONDS_MAX, help=f"for all keys together (default {SECONDS_MAX:.0f})")
    parser.add_argument("--configurations", type=int, default=CONFIGURATIONS_MAX, help=f"for each key; costs memory (default {CONFIGURATIONS_MAX:,})")
    parser.add_argument("--key", help="only this one")
    parser.add_argument("--all", action="store_true", help="show whole histories, not only what lies around a violation")
    options = parser.parse_args()
    keys = {key: operations for key, operations in load(options.file).items() if options.key in (None, str(key))}
    if not keys:
        sys.exit("history: no such key" if options.key else "history: the file is empty")
    began = time.monotonic()
    verdicts = dict(zip(keys, judge_all(keys.values(), options.seconds, options.configurations)))
    # The beginning of a clock says nothing.
    start = min(one.invoked for operations in keys.values() for one in operations)
    wrong = [key for key, verdict in verdicts.items() if not verdict.good]
    for key in wrong[:WORDS_MAX]:
        print("\n".join(described(key, keys[key], verdicts[key], start, options.all)))
    undecided = sum(1 for verdict in verdicts.values() if verdict.good is None)
    print(f"history: {sum(map(len, keys.values())):,} operations on {len(keys):,} keys judged in {time.monotonic() - began:.1f} s: "
          f"{len(keys) - len(wrong):,} linearizable, {len(wrong) - undecided:,} violations, {undecided:,} undecided")
    sys.exit(1 if wrong else 0)


def described(key, operations, verdict, start=0.0, whole=False):
    """The lines of a report on a key that is not in order."""
    yield f"{'UNDECIDED' if verdict.good is None else 'VIOLATION'} {key}: {verdict.why}"
    around = sorted(operations, key=lambda one: one.invoked) if whole else [*verdict.around, *filter(None, (verdict.culprit,))]
    for one in around:
        yield f"  {'>' if one is verdict.culprit or one == verdict.culprit else ' '} {shifted(one, start)}"


def shifted(operation, by):
    return operation._replace(invoked=operation.invoked - by, returned=operation.returned - by)


if __name__ == "__main__":
    main()
