"""Follows the log of Comanda, or waits for an order:

    python3 comanda_example.py HOST:PORT follow TENANT TOKEN_FILE [UNTIL_STATUS]
    python3 comanda_example.py HOST:PORT wait TENANT REFERENCE

COMANDA_TOKEN is the bearer token, COMANDA_CA a PEM file of authorities, for TLS.
Needs what requirements.txt names, or what README.md names of Debian; the code of the messages
is generated at the start.
"""

import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import grpc

PROTO = pathlib.Path(__file__).resolve().parents[2]  # the folder of comanda/ and buf/


def generate(out):
    """Makes the modules of comanda.v1, and of what it imports, importable."""
    files = sorted(str(f.relative_to(PROTO)) for part in ("comanda", "buf") for f in (PROTO / part).rglob("*.proto"))
    arguments = [f"-I{PROTO}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if plugin := shutil.which("grpc_python_plugin"):  # Debian's, whose grpc_tools are too old
        command = ["protoc", f"--plugin=protoc-gen-grpc_python={plugin}"]
    else:
        command = [sys.executable, "-m", "grpc_tools.protoc"]  # it knows where google/protobuf is
    if subprocess.run([*command, *arguments, *files]).returncode != 0:
        raise SystemExit("the contract cannot be compiled")
    sys.path.insert(0, out)


with tempfile.TemporaryDirectory() as generated:
    generate(generated)
    from comanda.v1 import event_pb2, events_pb2, events_pb2_grpc, order_pb2, order_pb2_grpc

# What may pass by itself. The server refuses for good with FAILED_PRECONDITION (the token
# is of another log or filter), INVALID_ARGUMENT, UNAUTHENTICATED and PERMISSION_DENIED.
PASSING = {
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Pauses:
    """Waits longer each time, up to 10 s, a half of it left to chance; raises what is final."""

    def __init__(self):
        self.wait = 0.05

    def reset(self):
        self.wait = 0.05

    def after(self, error):
        if error.code() not in PASSING:
            raise error
        print("again, after", error.details(), file=sys.stderr)
        self.wait = min(2 * self.wait, 10)
        time.sleep(self.wait / 2 + random.random() * self.wait / 2)


def follow(events, metadata, tenant, token_file, handle):
    """Hands every event of a tenant to handle, once and in order, until it returns true.

    The token file says where to go on, also after this process: it is written when an event
    was handled. Who needs effect and token to be one writes both in one transaction.
    """
    token_file = pathlib.Path(token_file)
    token = token_file.read_text() if token_file.exists() else ""
    pauses = Pauses()
    while True:
        request = events_pb2.SubscribeRequest(filter=events_pb2.EventFilter(tenants=[tenant]))
        if token:
            request.resume_token = token
        else:
            request.beginning.SetInParent()
        stream = events.Subscribe(request, metadata=metadata)
        try:
            for message in stream:
                pauses.reset()
                kind = message.WhichOneof("message")
                done = kind == "event" and handle(message.event.event)
                following = getattr(message, kind).resume_token if kind else ""  # every kind has one
                if following and following != token:
                    token = following
                    temporary = token_file.with_name(token_file.name + ".tmp")
                    temporary.write_text(token)
                    temporary.replace(token_file)
                if done:
                    return
        except grpc.RpcError as error:
            pauses.after(error)
        finally:
            stream.cancel()


def wait_settled(orders, metadata, tenant, reference):
    """The tenant's order with a reference when it is no longer pending; it need not exist yet."""
    request = order_pb2.WaitOrderRequest(settled=True)
    request.tenant_reference.tenant, request.tenant_reference.reference = tenant, reference
    request.timeout.seconds = 30
    pauses = Pauses()
    while True:
        try:
            # The call's own deadline is later than the timeout, to hear the answer.
            answer = orders.WaitOrder(request, metadata=metadata, timeout=40)
            if answer.met:
                return answer.order
            pauses.reset()
        except grpc.RpcError as error:
            pauses.after(error)


def connect(server):
    """A channel to server, and the metadata of every call."""
    bearer, ca = os.environ.get("COMANDA_TOKEN"), os.environ.get("COMANDA_CA")
    options = [
        ("grpc.keepalive_time_ms", 20_000),  # finds a dead connection; at most every 10 s
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),  # else 20 s pass before the second try
        ("grpc.max_reconnect_backoff_ms", 10_000),
    ]
    if bearer and not ca and not re.fullmatch(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d+", server):
        raise SystemExit("a token is not sent beyond loopback in the clear: set COMANDA_CA")
    metadata = [("authorization", f"Bearer {bearer}")] if bearer else []
    if not ca:
        return grpc.insecure_channel(server, options), metadata
    credentials = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes())
    return grpc.secure_channel(server, credentials, options), metadata


def word(status):
    return event_pb2.OrderStatus.Name(status).removeprefix("ORDER_STATUS_").lower()


def main(args):
    if len(args) < 4 or args[1] not in ("follow", "wait"):
        raise SystemExit(__doc__)
    server, command, tenant, name, *until = args
    channel, metadata = connect(server)
    with channel:
        if command == "wait":
            order = wait_settled(order_pb2_grpc.OrderServiceStub(channel), metadata, tenant, name)
            print(order.order_id, order.revision, word(order.status))
            return

        def handle(event):
            print(event.event_id, event.order_id, event.revision, word(event.status_to), flush=True)
            return word(event.status_to) in until

        follow(events_pb2_grpc.EventServiceStub(channel), metadata, tenant, name, handle)


if __name__ == "__main__":
    main(sys.argv[1:])
