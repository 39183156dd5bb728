"""Runs the tests of scripts/abuse.sh, each on a fresh server, and prints a line for each."""

import random
import sys
import time
import traceback

import clients
import disk
import protocol
import server as servers
from checks import Failure

TESTS = {
    "idle-connections": clients.ten_thousand_idle_connections,
    "max-clients": clients.one_client_too_many,
    "never-reads": clients.a_client_that_never_reads,
    "slow-loris": clients.a_crowd_that_sends_byte_by_byte,
    "query-buffer": clients.a_command_without_end,
    "protocol-errors": protocol.malformed_requests,
    "before-auth": protocol.limits_before_the_password,
    "announced-lengths": protocol.lengths_that_are_only_announced,
    "nested-arrays": protocol.arrays_in_arrays,
    "half-frames": protocol.half_frames,
    "garbage": protocol.garbage,
    "full-disk": disk.full_disk,
    "damaged-wal": disk.damage_in_the_middle,
    "torn-tail": disk.torn_tail,
}


def main():
    names = sys.argv[1:] or list(TESTS)
    if names == ["--list"]:
        print("\n".join(TESTS))
        return
    unknown = [name for name in names if name not in TESTS]
    if unknown:
        sys.exit(f"abuse: no test named {', '.join(unknown)}; there are {', '.join(TESTS)}")
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"abuse: seed {seed}", flush=True)
    failed = []
    for name in names:
        random.seed(seed)
        directory = servers.work_dir("abuse-" + name)
        started = time.monotonic()
        try:
            result = TESTS[name](directory)
            print(f"abuse: {name}: ok in {time.monotonic() - started:.1f} s ({result})", flush=True)
        except (Failure, servers.StartError) as failure:
            failed.append(name)
            print(f"abuse: {name}: FAILED: {failure}", flush=True)
        except Exception:
            failed.append(name)
            print(f"abuse: {name}: FAILED:\n{traceback.format_exc()}", flush=True)
        finally:
            servers.end_all()
            servers.remove(directory)
    if failed:
        sys.exit(f"abuse: failed: {', '.join(failed)}")
    print(f"abuse: all {len(names)} passed")


if __name__ == "__main__":
    main()
