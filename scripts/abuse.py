"""The run behind scripts/abuse.sh: all checks of the abuse_* files in scripts/lib, in this order."""

import os
import random
import sys

import checks

import abuse_start  # noqa: F401, isort:skip  (a module registers its checks when it is imported)
import abuse_input  # noqa: F401
import abuse_clients  # noqa: F401
import abuse_disk  # noqa: F401


def main():
    seed = int(os.environ.get("ABUSE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"abuse: seed {seed}", flush=True)
    passed, failed = checks.run(sys.argv[1:], seed)
    if passed + failed == 0:
        print(f"abuse: no check begins with {' or '.join(sys.argv[1:])}")
    print(f"abuse: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
