"""grpcio at both ends of a proxy: all kinds of calls, metadata, deadlines, cancellation, large messages, many at once.

Takes the port to serve on and the proxy's port.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVER, PROXY = sys.argv[1:3]
raw = {"request_deserializer": None, "response_serializer": None}
cancelled = threading.Event()


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-echo", metadata.get("x-ask", "")),))
    context.set_trailing_metadata((("x-left", str(context.time_remaining() is not None)), ("x-bin-bin", b"\0\xff")))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100%")
    return request


def collect(requests, _):
    return b"".join(requests)


def spread(request, _):
    for byte in request:
        yield bytes([byte])


def echo(requests, _):
    yield from requests


def slow(_, context):
    context.add_callback(cancelled.set)
    while context.is_active():
        time.sleep(0.05)
    return b""


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Spread": grpc.unary_stream_rpc_method_handler(spread),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}
options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)]
server = grpc.server(futures.ThreadPoolExecutor(32), options=options)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("interop.Test", handlers),))
server.add_insecure_port(f"127.0.0.1:{SERVER}")
server.start()

channel = grpc.insecure_channel(f"127.0.0.1:{PROXY}", options=options)
grpc.channel_ready_future(channel).result(10)
call_unary = channel.unary_unary("/interop.Test/Unary")

response, call = call_unary.with_call(b"hello", metadata=(("x-ask", "yes"),), timeout=10)
assert response == b"hello"
assert dict(call.initial_metadata())["x-echo"] == "yes"
trailing = dict(call.trailing_metadata())
assert trailing["x-left"] == "True" and trailing["x-bin-bin"] == b"\0\xff", trailing

big = bytes(range(256)) * (8 << 12)
assert len(big) == 8 << 20 and call_unary(big, timeout=30) == big

assert channel.stream_unary("/interop.Test/Collect")(iter([b"a", b"b" * 100_000, b"c"])) == b"a" + b"b" * 100_000 + b"c"
assert list(channel.unary_stream("/interop.Test/Spread")(b"abc")) == [b"a", b"b", b"c"]

# Both directions at once: each answer is seen before the next question is asked.
ask, asked = threading.Semaphore(1), 0


def questions():
    for at in range(50):
        ask.acquire()
        yield str(at).encode()


for at, answer in enumerate(channel.stream_stream("/interop.Test/Echo")(questions(), timeout=20)):
    assert answer == str(at).encode()
    ask.release()
assert at == 49


def status(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return None


assert status(lambda: call_unary(b"fail")) == (grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100%")
assert status(lambda: channel.unary_unary("/interop.Test/None")(b""))[0] == grpc.StatusCode.UNIMPLEMENTED

call_slow = channel.unary_unary("/interop.Test/Slow")
began = time.monotonic()
assert status(lambda: call_slow(b"", timeout=0.5))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
assert time.monotonic() - began < 5 and cancelled.wait(5), "the server hears of the deadline"
cancelled.clear()
future = call_slow.future(b"")
time.sleep(0.3)
future.cancel()
assert cancelled.wait(5), "the server hears of the cancellation"

many = [call_unary.future(str(at).encode(), timeout=30) for at in range(500)]
assert [call.result() for call in many] == [str(at).encode() for at in range(500)]
print("grpc: all passed")
server.stop(0)
