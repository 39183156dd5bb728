"""What an operator asks of a cluster, and tells it: by the REST calls that the command line makes, and by the command line itself."""

import http.client
import json
import subprocess

import server as servers

# A node that is asked while it is busy with others' questions.
SECONDS_MAX = 10.0


class Refused(Exception):
    """The answer was no; the text says why."""


def call(node, method, path, body=None):
    """The answer of a node of the cluster, decoded. Raises Refused, OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection(node.host, node.http_port, timeout=SECONDS_MAX)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status // 100 != 2:
        raise Refused(f"{method} {path}: {answer.status} {content.decode(errors='replace').strip()}")
    return json.loads(content) if content else None


def command(nodes, words, seconds):
    """An operator's command of the program under test, which asks these nodes: exit code (None where it did not end in time), and what it printed
    to standard output and to standard error."""
    http = ",".join(f"{node.host}:{node.http_port}" for node in nodes)
    process = subprocess.Popen([servers.ringfort_binary(), *words], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=servers.clean_environment(RINGFORT_HTTP=http))
    try:
        out, err = process.communicate(timeout=seconds)
        return process.returncode, out, err
    except subprocess.TimeoutExpired:
        process.kill()
        return (None, *process.communicate())


def of_any(nodes, method, path, body=None):
    """As `call`, of the first of these nodes that answers."""
    failed = None
    for node in nodes:
        try:
            return call(node, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            failed = error
    raise failed or Refused("there is no node to be asked")
