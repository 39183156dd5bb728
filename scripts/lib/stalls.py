"""A clock for bounds on what others do: it stands while the machine lets not even this process run, which is nobody's delay.

Knows nothing of what is waited for.
"""

import threading
import time

LOOK_SECONDS = 0.1
# Below that it is the ordinary lateness of a busy machine.
STALL_SECONDS_MIN = 1.0


class Clock(threading.Thread):
    """`say` hears of each stall."""

    def __init__(self, say):
        super().__init__(daemon=True)
        self.say = say
        self.lock = threading.Lock()
        self.stood = 0.0
        self.beat = time.monotonic()
        self.start()

    def run(self):
        while True:
            time.sleep(LOOK_SECONDS)
            with self.lock:
                late = self._late()
                self.stood += late
                self.beat = time.monotonic()
            if late:
                self.say(f"the machine let nothing run for {late:.1f} s")

    def _late(self):
        late = time.monotonic() - self.beat - LOOK_SECONDS
        return late if late > STALL_SECONDS_MIN else 0.0

    def now(self):
        """Seconds, without the stalls; one that has just ended is left out as well."""
        with self.lock:
            return time.monotonic() - self.stood - self._late()
