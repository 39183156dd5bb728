"""The disk: full, and with bytes changed. Format facts are those of src/durability/README.md."""

import glob
import os
import struct
import subprocess
import time

from checks import MIB, Failed, Skipped, check, expect, expect_alive, expect_text, http_get, info, refused_start, wait_until
from resp import ReplyError

TMPFS_MIB = 24
BALLAST_MIB = 8
SEGMENT_HEADER_BYTES = 512
# Sequence and length; the whole is drawn in src/durability/README.md.
RECORD_HEADER = struct.Struct("<16xQ16xI")


def small_disk(bench):
    """A tmpfs that ends with the check."""
    path = os.path.join(bench.directory, "disk")
    os.makedirs(path)
    if os.geteuid() != 0:
        raise Skipped("needs root, to mount a small tmpfs")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m", "tmpfs", path],
                          capture_output=True, text=True)
    if made.returncode != 0:
        raise Skipped(f"cannot mount a tmpfs: {made.stderr.strip()}")
    bench.exits.callback(subprocess.run, ["umount", "-l", path])
    return path


def write_until_refused(client, acknowledged):
    """Fills the disk; returns the error's text."""
    for number in range(200_000):
        key = f"fill:{number}"
        try:
            client.call("SET", key, f"{number}:" + "x" * 2_000)
        except ReplyError as error:
            return str(error)
        acknowledged[key] = number
    raise Failed("400 MB were written to a disk of 24 MiB and nothing was refused")


def expect_all(client, acknowledged):
    keys = list(acknowledged)
    for at in range(0, len(keys), 500):
        part = keys[at:at + 500]
        for key, value in zip(part, client.call("MGET", *part)):
            expect(value is not None, f"the acknowledged {key} is missing")
            expect(int(value.split(b":")[0]) == acknowledged[key], f"{key} holds {value[:20]!r}")


def _full_disk(bench, durability):
    disk = small_disk(bench)
    ballast = os.path.join(disk, "ballast")
    with open(ballast, "wb") as file:
        file.write(bytes(BALLAST_MIB * MIB))
    server = bench.server("--wal-segment-bytes", "1mb", data_dir=os.path.join(disk, "data"), durability=durability)
    acknowledged = {}
    with server.client() as client:
        error = write_until_refused(client, acknowledged)
        expect(error.startswith("MISCONF") and "full" in error, f"the refusal says: {error}")
        expect(len(acknowledged) > 1_000, f"only {len(acknowledged)} writes of 2 kB fitted")
        expect(client.call("GET", "fill:0") is not None, "GET is not served")
        expect_alive(server)
        wait_until(lambda: http_get(server, "/readyz")[0] == 503, 5, "/readyz is not 503")
        expect_text(http_get(server, "/readyz")[1], "refused", "full")
        expect(http_get(server, "/healthz")[0] == 200, "/healthz is not 200")
        for command in [("INCR", "n"), ("DEL", "fill:0"), ("RPUSH", "l", "a")]:
            try:
                client.call(*command)
                # A small record may still find room; then it counts.
                acknowledged.pop("fill:0", None) if command[0] == "DEL" else None
            except ReplyError as refused:
                expect(str(refused).startswith("MISCONF"), f"{command[0]} got {refused}")
        os.remove(ballast)
        works_again(client, acknowledged)
        wait_until(lambda: http_get(server, "/readyz")[0] == 200, 5, lambda: f"/readyz says {http_get(server, '/readyz')}")
    for stop in (server.kill, server.stop):
        stop()
        server.start()
        with server.client() as client:
            expect_all(client, acknowledged)


def works_again(client, acknowledged):
    """Room was made: within seconds writes are taken."""
    deadline = time.monotonic() + 10
    while True:
        try:
            client.call("SET", "after", "1:")
            acknowledged["after"] = 1
            return
        except ReplyError as error:
            expect(time.monotonic() < deadline, f"10 s after room was made: {error}")
            time.sleep(0.1)


@check
def a_full_disk_refuses_writes_until_there_is_room(bench):
    _full_disk(bench, "everysec")


@check
def reads_of_many_keys_go_on_while_the_disk_is_full(bench):
    disk = small_disk(bench)
    server = bench.server("--wal-segment-bytes", "1mb", data_dir=os.path.join(disk, "data"))
    acknowledged = {}
    with server.client() as client:
        write_until_refused(client, acknowledged)
        refused = []
        for command in [("MGET", *list(acknowledged)[:500]), ("DBSIZE",), ("KEYS", "fill:1"), ("SCAN", "0"),
                        ("EXISTS", "fill:0", "fill:1"), ("RANDOMKEY",), ("INFO",)]:
            reply = client.pipeline([command])[0]
            if isinstance(reply, ReplyError):
                refused.append(command[0])
        expect(not refused, f"refused on a full disk although they only read: {' '.join(refused)}")


@check
def a_full_disk_under_durability_always(bench):
    _full_disk(bench, "always")


@check
def restarting_on_a_full_disk_loses_nothing(bench):
    disk = small_disk(bench)
    server = bench.server("--wal-segment-bytes", "1mb", data_dir=os.path.join(disk, "data"))
    acknowledged = {}
    with server.client() as client:
        for number in range(4_000):
            client.call("SET", f"fill:{number}", f"{number}:" + "x" * 2_000)
            acknowledged[f"fill:{number}"] = number
    server.kill()
    ballast = os.path.join(disk, "ballast")
    try:
        with open(ballast, "wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
    except OSError:
        pass
    # Either it serves what it has, or it says that there is no room; and with room it has everything.
    try:
        server.start()
        with server.client() as client:
            expect_all(client, acknowledged)
        server.kill()
    except Exception:
        expect(not server.running(), "it runs, but does not serve")
        expect("panicked" not in server.log_tail(), f"it panicked:\n{server.log_tail()}")
        expect_text(server.log_tail(), os.path.join(disk, "data"))
        lowered = server.log_tail().lower()
        expect("full" in lowered or "no space" in lowered, f"the log names no full disk:\n{server.log_tail()}")
        expect("corrupt" not in lowered, f"a full disk is called corruption:\n{server.log_tail()}")
    os.remove(ballast)
    server.start()
    with server.client() as client:
        expect_all(client, acknowledged)


def _overwrite(bench, *flags):
    """200 MB of writes to 100 keys fit into 24 MiB, and none of them is refused: the log is shortened in time."""
    disk = small_disk(bench)
    server = bench.server("--wal-segment-bytes", "1mb", *flags, data_dir=os.path.join(disk, "data"))
    with server.client() as client:
        for turn in range(1_000):
            replies = client.pipeline([("SET", f"k:{n}", f"{turn}:" + "x" * 2_000) for n in range(100)])
            errors = [reply for reply in replies if isinstance(reply, ReplyError)]
            expect(not errors, f"turn {turn}: {errors[:1]}")
    server.kill()
    server.start()
    with server.client() as client:
        expect_all(client, {f"k:{n}": 999 for n in range(100)})


@check
def overwriting_the_same_keys_never_fills_a_small_disk(bench):
    _overwrite(bench, "--wal-max-bytes", "6mb")


@check
def overwriting_the_same_keys_never_fills_a_disk_smaller_than_the_log_may_be(bench):
    """The log alone would fill the disk and leave no room for the snapshots that shorten it."""
    _overwrite(bench, "--wal-max-bytes", "1gb")


@check
def a_full_disk_is_freed_by_removing_keys(bench):
    disk = small_disk(bench)
    server = bench.server("--wal-segment-bytes", "1mb", data_dir=os.path.join(disk, "data"))
    acknowledged = {}
    with server.client() as client:
        write_until_refused(client, acknowledged)
        expect(client.call("DEL", "fill:0") == 1, "DEL of a key that is there")
        expect(client.call("GET", "fill:0") is None, "the removed key is still there")
        expect(client.call("FLUSHALL") == b"OK", "FLUSHALL")
        expect(client.call("DBSIZE") == 0, "FLUSHALL left keys")
        works_again(client, acknowledged)
        again = {}
        write_until_refused(client, again)
        expect(len(again) * 2 > len(acknowledged), f"{len(acknowledged)} keys fitted at first, then {len(again)}")
    server.kill()
    server.start()
    with server.client() as client:
        expect_all(client, again)


@check
def a_full_disk_does_not_take_writes_and_refuse_them_in_turns(bench):
    disk = small_disk(bench)
    server = bench.server("--wal-segment-bytes", "1mb", data_dir=os.path.join(disk, "data"))
    acknowledged = {}
    with server.client() as client:
        write_until_refused(client, acknowledged)
        # What snapshots can still gain is gained first.
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            replies = client.pipeline([("SET", f"more:{n}", "x" * 2_000) for n in range(50)])
            if all(isinstance(reply, ReplyError) for reply in replies):
                break
        refused, taken, changes = 0, 0, 0
        last = True
        for number in range(2_000):
            now = isinstance(client.pipeline([("SET", f"small:{number}", "x" * 500)])[0], ReplyError)
            changes += now != last
            refused, taken, last = refused + now, taken + (not now), now
        expect(changes <= 20, f"{changes} changes between taken ({taken}) and refused ({refused})")


def written(bench, *extra, keys=4_000):
    """A stopped server whose log holds a record for each of `keys` writes; nothing was stopped in order."""
    server = bench.server(*extra, durability="always")
    with server.client() as client:
        for at in range(0, keys, 20):
            client.pipeline([("SET", f"k:{n}", f"{n}:" + "x" * 1_000) for n in range(at, at + 20)])
    return server


def segments(server):
    return sorted(glob.glob(os.path.join(server.directory, "wal", "*.log")))


def records(path):
    """(offset, length) of each record, found by the lengths in their headers."""
    with open(path, "rb") as file:
        data = file.read()
    found, at, last = [], SEGMENT_HEADER_BYTES, None
    while at + 48 <= len(data):
        sequence, length = RECORD_HEADER.unpack_from(data, at)
        if length < 48 or at + length > len(data) or (last is not None and sequence != last):
            break
        found.append((at, length))
        last, at = sequence, at + length
    return found


def last_written(server):
    """The last segment with records: the next one is made ahead of need."""
    return [path for path in segments(server) if records(path)][-1]


def overwrite(path, offset, change):
    """Replaces bytes in place: `change` gets the rest of the file from `offset` on, at most 1 MiB of it."""
    with open(path, "r+b") as file:
        file.seek(offset)
        data = change(file.read(MIB))
        file.seek(offset)
        file.write(data)


def flipped(count):
    return lambda data: bytes(byte ^ 0x55 for byte in data[:count])


def found_keys(server, keys):
    with server.client() as client:
        values = client.call("MGET", *[f"k:{n}" for n in range(keys)])
    for number, value in enumerate(values):
        whole = f"{number}:".encode() + b"x" * 1_000
        expect(value is None or value == whole, f"k:{number} holds {str(value)[:40]}")
    return [value is not None for value in values]


@check
def damage_in_the_middle_of_the_log_is_refused(bench):
    server = written(bench)
    server.kill()
    path = last_written(server)
    all_records = records(path)
    expect(len(all_records) > 20, f"only {len(all_records)} records in {path}: the check cannot read the log")
    at, length = all_records[len(all_records) // 2]
    overwrite(path, at + length // 2, flipped(16))
    with open(path, "rb") as file:
        before = file.read()
    text = refused_start(server)
    expect_text(text, path, f"byte {at}", "--accept-data-loss", "backup")
    with open(path, "rb") as file:
        expect(file.read() == before, "the refused start changed the log")
    refused_start(server)
    server.start(["--accept-data-loss"])
    found = found_keys(server, 4_000)
    count = found.count(True)
    expect(1_000 < count < 3_500, f"{count} of 4000 keys are there after half of the log was given up")
    expect(found == [True] * count + [False] * (4_000 - count), "what is left is no prefix of what was written")
    with server.client() as client:
        client.call("SET", "new", "1")
    server.kill()
    server.start()
    expect(found_keys(server, 4_000) == found, "the next start shows something else")
    with server.client() as client:
        expect(client.call("GET", "new") == b"1", "a write after --accept-data-loss is gone")


@check
def a_missing_segment_is_refused(bench):
    server = written(bench, "--wal-segment-bytes", "1mb")
    server.kill()
    paths = segments(server)
    expect(len(paths) > 3, f"only {len(paths)} segments")
    path = paths[len(paths) // 2]
    os.rename(path, path + ".away")
    expect_text(refused_start(server), "wal", "--accept-data-loss")
    os.rename(path + ".away", path)
    server.start()
    expect(all(found_keys(server, 4_000)), "keys are missing although the segment is back")


def _torn(bench, change):
    server = written(bench, keys=1_000)
    with server.client() as client:
        client.call("SET", "last", "1")
    server.kill()
    path = last_written(server)
    at, length = records(path)[-1]
    overwrite(path, *change(at, length))
    offset = server.log_size()
    server.start()
    text = server.log_since(offset)
    expect("error" not in text.lower() and "corrupt" not in text.lower(), f"a torn tail is not silent: {text}")
    expect(all(found_keys(server, 1_000)), "more than the last record is missing")
    with server.client() as client:
        client.call("SET", "last", "2")
    server.kill()
    server.start()
    with server.client() as client:
        expect(client.call("GET", "last") == b"2", "a write after the torn tail is gone")


@check
def a_last_record_cut_short_is_no_damage(bench):
    _torn(bench, lambda at, length: (at + length // 2, lambda data: bytes(len(data))))


@check
def a_zeroed_last_record_is_no_damage(bench):
    _torn(bench, lambda at, length: (at, lambda data: bytes(len(data))))


@check
def a_last_record_with_a_flipped_bit_is_no_damage(bench):
    _torn(bench, lambda at, length: (at + length - 9, flipped(1)))


def snapshot_and_kill(server):
    """BGSAVE, and the path of its largest snapshot when all 64 shards and the copy of the meta group have one."""
    pattern = os.path.join(server.directory, "snapshots", "*.snap")
    with server.client() as client:
        client.call("BGSAVE")
        wait_until(lambda: len(glob.glob(pattern)) == 65, 20, lambda: f"BGSAVE left {len(glob.glob(pattern))} snapshots")
        wait_until(lambda: info(client, "rdb_bgsave_in_progress") == "0", 20, "BGSAVE does not end")
    server.kill()
    return max(glob.glob(pattern), key=os.path.getsize)


@check
def bgsave_is_in_progress_once_it_is_answered(bench):
    """Else nobody can wait for its end."""
    server = written(bench, keys=2_000)
    with server.client() as client:
        replies = client.pipeline([("BGSAVE",), ("INFO", "persistence")])
        expect(b"rdb_bgsave_in_progress:1" in replies[1], "INFO right behind BGSAVE says that none is in progress")


@check
def a_damaged_snapshot_is_refused(bench):
    server = written(bench)
    path = snapshot_and_kill(server)
    overwrite(path, os.path.getsize(path) // 2, flipped(16))
    expect_text(refused_start(server), path, "byte", "--accept-data-loss", "backup")
    server.start(["--accept-data-loss"])
    expect_alive(server)
    count = found_keys(server, 4_000).count(True)
    # What the log still holds of that shard may come back.
    expect(3_000 < count <= 4_000, f"{count} of 4000 keys are left after one of 64 shards was given up")
    server.kill()
    server.start()
    again = found_keys(server, 4_000).count(True)
    expect(again == count, f"{count} keys after --accept-data-loss, {again} at the next start")


@check
def a_shortened_snapshot_is_refused(bench):
    server = written(bench, keys=1_000)
    path = snapshot_and_kill(server)
    os.truncate(path, os.path.getsize(path) * 2 // 3)
    expect_text(refused_start(server), path, "--accept-data-loss")
