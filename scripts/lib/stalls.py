"""A clock for bounds on what others do: it stands while the machine lets not even this process run, which is nobody's delay.

Knows nothing of what is waited for.
"""

import os
import threading
import time

LOOK_SECONDS = 0.1
# Below that it is the ordinary lateness of a busy machine.
STALL_SECONDS_MIN = 1.0
# The first fields of the line "cpu" in /proc/stat, in ticks: user, nice, system, idle, iowait, irq, softirq.
BUSY_FIELDS = (0, 1, 2, 5, 6)


def busy_seconds():
    """What all processors have worked since the machine started; what the machine's host took from them is not in it."""
    with open("/proc/stat") as stat:
        ticks = stat.readline().split()[1:]
    return sum(int(ticks[field]) for field in BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


class Clock(threading.Thread):
    """`say` hears of each stall. `stalls` are all of them: when it began, its seconds, and the part of the processors' time that was used in it."""

    def __init__(self, say, shortest=STALL_SECONDS_MIN):
        super().__init__(daemon=True)
        self.say = say
        self.shortest = shortest
        self.lock = threading.Lock()
        self.stood = 0.0
        self.stalls = []
        self.beat = time.monotonic()
        self.start()

    def run(self):
        busy = busy_seconds()
        while True:
            time.sleep(LOOK_SECONDS)
            with self.lock:
                began, late = self.beat, self._late()
                self.stood += late
                self.beat = time.monotonic()
                busy, before = busy_seconds(), busy
                used = (busy - before) / ((self.beat - began) * os.cpu_count())
                if late:
                    self.stalls.append((began, late, used))
            if late:
                self.say(f"the machine let nothing run for {late:.1f} s")

    def _late(self):
        late = time.monotonic() - self.beat - LOOK_SECONDS
        return late if late > self.shortest else 0.0

    def now(self):
        """Seconds, without the stalls; one that has just ended is left out as well."""
        with self.lock:
            return time.monotonic() - self.stood - self._late()
