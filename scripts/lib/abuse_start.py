"""Starts that must be refused, in words that name the cause: settings, ports, a directory in use."""

import os
import socket
import subprocess

import server as servers
from checks import check, expect, expect_alive, expect_text, refused_start


@check
def an_unknown_flag_is_refused(bench):
    expect_text(refused_start(bench.server("--nonesuch", "1", start=False)), "--nonesuch")


@check
def values_out_of_range_are_refused_by_name(bench):
    for flag, value in [("--databases", "0"), ("--threads", "99999"), ("--shards", "0"), ("--maxclients", "-1"),
                        ("--durability", "perhaps"), ("--maxmemory", "lots"), ("--wal-segment-bytes", "1"),
                        ("--client-output-buffer-limit", "normal 1"), ("--maxmemory-policy", "none")]:
        # The last of two wins nowhere: the helper sets some flags itself.
        server = bench.server(start=False)
        if flag in server.arguments:
            server.arguments[server.arguments.index(flag) + 1] = value
        else:
            server.arguments += [flag, value]
        text = refused_start(server)
        expect_text(text, flag[2:], value)


@check
def environment_and_file_are_checked_too(bench):
    binary = servers.ringfort_binary()
    path = os.path.join(bench.directory, "ringfort.toml")
    with open(path, "w") as file:
        file.write("databases = 0\n")
    for arguments, variables, parts in [
        ([], {"RINGFORT_DATABASES": "0"}, ["databases", "RINGFORT_DATABASES"]),
        (["--config", path], {}, ["databases", path]),
        (["--config", path + ".missing"], {}, [path + ".missing"]),
    ]:
        done = subprocess.run([binary, "serve", *arguments], env=servers.clean_environment(**variables),
                              timeout=30, capture_output=True, text=True, cwd=bench.directory)
        expect(done.returncode > 0, f"{arguments} {variables}: ended with {done.returncode}")
        expect_text(done.stderr + done.stdout, *parts)


@check
def a_port_in_use_is_a_clear_error(bench):
    for flag in ("--port", "--http-port", "--cluster-port"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            server = bench.server(start=False)
            server.arguments[server.arguments.index(flag) + 1] = port
            expect_text(refused_start(server), port, "in use")


@check
def a_second_process_on_the_directory_is_refused(bench):
    first = bench.server()
    second = bench.server(data_dir=first.directory, start=False)
    expect_text(refused_start(second), first.directory, "another")
    expect_alive(first)
    with first.client() as client:
        client.call("SET", "k", "v")


@check
def a_directory_that_cannot_be_made_is_named(bench):
    path = os.path.join(bench.directory, "file")
    open(path, "w").close()
    expect_text(refused_start(bench.server(data_dir=os.path.join(path, "data"), start=False)), path)
