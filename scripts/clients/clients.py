"""Starts one ringfort with a password and runs each client's program against it; see scripts/clients.sh."""

import os
import subprocess
import sys

import server as servers

PASSWORD = "a password"
SECONDS_MAX = 120


def main():
    """Each argument is the name of a client and, after `=`, the command line of its program."""
    directory = servers.work_dir("clients")
    node = servers.ringfort(directory, threads=2, extra=["--requirepass", PASSWORD])
    environment = {**os.environ, "PORT": str(node.port), "CLUSTER_PORT": str(node.cluster_port), "PASSWORD": PASSWORD}
    failed = []
    try:
        node.start()
        for argument in sys.argv[1:]:
            name, command = argument.split("=", 1)
            done = subprocess.run(command, shell=True, env=environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=SECONDS_MAX)
            print(done.stdout, end="", flush=True)
            if done.returncode != 0:
                failed.append(name)
                print(f"clients: {name} failed:\n{done.stderr}", flush=True)
        node.stop()
    except (servers.StartError, subprocess.TimeoutExpired) as error:
        sys.exit(f"clients: {error}")
    finally:
        node.kill()
        servers.remove(directory)
    if failed:
        sys.exit(f"clients: failed: {', '.join(failed)}")
    print(f"clients: all {len(sys.argv) - 1} work")


if __name__ == "__main__":
    main()
