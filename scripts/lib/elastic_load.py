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
        return history.load(self.history_path)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
