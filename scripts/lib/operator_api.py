"""What an operator asks of a cluster over HTTP, and tells it: the same REST calls that the command line makes."""

import http.client
import json

# A node that is asked while it is busy with others' questions.
SECONDS_MAX = 10.0


class Refused(Exception):
    """The answer was no; the text says why, and the status, if it came from a node, what kind of no it is."""

    def __init__(self, text, status=None):
        super().__init__(text)
        self.status = status


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
        raise Refused(f"{method} {path}: {answer.status} {content.decode(errors='replace').strip()}", answer.status)
    return json.loads(content) if content else None


def of_any(nodes, method, path, body=None):
    """As `call`, of the first of these nodes that answers."""
    failed = None
    for node in nodes:
        try:
            return call(node, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            failed = error
    raise failed or Refused("there is no node to be asked")
