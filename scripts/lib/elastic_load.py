"""Speaks with the load of scripts/elastic-load, and reads what it saw for the judge."""

import json
import os
import subprocess
import threading

import history

ANSWER_SECONDS_MAX = 600.0


class LoadError(Exception):
    """The load ended, or said nothing for too long."""


class Load:
    """One process of the load. Orders and answers: scripts/elastic-load/src/main.rs."""

    def __init__(self, binary, directory, nodes, **options):
        self.history_path = os.path.join(directory, "history.jsonl")
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        self.process = subprocess.Popen([binary, "--history", self.history_path, *words], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.order(f"nodes {','.join(nodes)}")

    def order(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise LoadError(f"the load is gone: {error}") from error

    def ask(self, line):
        """An order with an answer."""
        self.order(line)
        watch = threading.Timer(ANSWER_SECONDS_MAX, self.process.kill)
        watch.start()
        answer = self.process.stdout.readline()
        watch.cancel()
        if not answer:
            raise LoadError(f"the load gave no answer to {line!r}")
        return json.loads(answer)

    def quit(self):
        """Ends it; gives what was seen of the shared keys: a list of operations by key."""
        self.order("quit")
        if self.process.wait(ANSWER_SECONDS_MAX) != 0:
            raise LoadError("the load did not end well")
        keys = {}
        with open(self.history_path) as lines:
            for line in lines:
                key, client, kind, argument, invoked, returned, outcome, value = json.loads(line)
                # Values are numbers; a write is acknowledged with OK, which is what the judge expects of it.
                seen = b"OK" if kind == "set" and outcome == history.OK else value
                returned = history.NEVER if returned is None else returned
                operation = history.Operation(client, kind, argument, invoked, returned, outcome, seen)
                keys.setdefault(key, []).append(operation)
        return keys

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
