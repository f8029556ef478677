"""HTTP with JSON through a proxy to grpcio, and protobuf's own JSON as the judge of what both make of it.

Takes the port to serve on, the proxy's port and the descriptor set of examples/shelf.proto.
"""

import json
import random
import sys
import urllib.error
import urllib.request
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf import struct_pb2, timestamp_pb2, wrappers_pb2  # the forms that JSON has for them

SERVER, PROXY, SET = sys.argv[1:4]
pool = descriptor_pool.DescriptorPool()
with open(SET, "rb") as file:
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        pool.Add(proto)
messages = message_factory.GetMessageClassesForFiles(["shelf.proto"], pool)
Book = messages["example.library.Book"]
asked = []


def echo(request, context):
    asked.append(request)
    if request.name == "fail":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such book: 100% ü")
    return request


def books(request, _):
    for at in range(20):
        yield Book(pages=at, name="x" * at * 100)


def book_of(request, _):
    asked.append(request)
    return Book(name=request.name)


def method(handler, kind, request, many=False):
    make = grpc.unary_stream_rpc_method_handler if many else grpc.unary_unary_rpc_method_handler
    return make(handler, messages["example.library." + request].FromString, lambda message: message.SerializeToString())


handlers = {
    "Echo": method(echo, "Book", "Book"),
    "ListBooks": method(books, "Book", "ListRequest", many=True),
    "GetBook": method(book_of, "Book", "GetBookRequest"),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("example.library.Library", handlers),))
server.add_insecure_port(f"127.0.0.1:{SERVER}")
server.start()


def ask(method, path, content=None):
    url = f"http://127.0.0.1:{PROXY}{path}"
    data = None if content is None else content.encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


ECHO = "/example.library.Library/Echo"
random.seed(7)


def value(depth=0):
    kinds = [None, True, random.uniform(-1e9, 1e9), random.randrange(10**6), "text ü \"\\\n\u0001"]
    if depth < 3:
        kinds += [[value(depth + 1) for _ in range(random.randrange(3))], {f"k{at}": value(depth + 1) for at in range(2)}]
    return random.choice(kinds)


def book():
    fields = {
        "name": random.choice(["", "n", "ü€😀", "line\nbreak"]),
        "pages": random.choice([0, -1, "9223372036854775807", "-9223372036854775808", 12]),
        "kind": random.choice(["NOVEL", 2, 0]),
        "authors": random.choice([[], ["a", ""]]),
        "printed": random.choice(["1970-01-01T00:00:00Z", "2024-02-29T23:59:59.123456789Z", "0001-01-01T00:00:00+01:00"][:2]),
        "stock": {"a": 1, "": -2147483648},
        "cover": random.choice(["", "AAE=", "_-8=", "AAEC"]),
        "notes": {"v": value()},
        "size": {"height": random.randrange(-5, 5), "width": random.choice([1.5, "NaN", "-Infinity", 0.1]), "margins": [0, 4294967295]},
        "edition": random.choice([0, 3, None]),
        "boundInLeather": random.choice([True, False]),
        random.choice(["euros", "barter"]): random.choice(["1.25"]),
    }
    names = random.sample(sorted(fields), random.randrange(len(fields) + 1))
    return {name: fields[name] for name in names}


for _ in range(300):
    document = book()
    expected = json_format.ParseDict(document, Book())
    status, answer = ask("POST", ECHO, json.dumps(document))
    assert status == 200, (status, answer, document)
    assert asked[-1].SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True), document
    again = json_format.ParseDict(answer, Book())
    assert again.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True), (document, answer)
    assert json_format.MessageToDict(expected) == answer, (json_format.MessageToDict(expected), answer)

# What protobuf's own reader refuses is refused here.
before = len(asked)
for wrong in [
    '{"pages": "x"}', '{"pages": 1.5}', '{"pages": 9223372036854775808}', '{"kind": "POEM"}', '{"authors": "a"}',
    '{"printed": "yesterday"}', '{"printed": "2024-13-01T00:00:00Z"}', '{"stock": {"a": 2147483648}}', '{"size": 1}',
    '{"none": 1}', '{"euros": 1, "barter": "x"}', '{"boundInLeather": "true"}', '{"edition": "x"}', "[]", "1", "{",
    '{"size": {"margins": [-1]}}', '{"size": {"width": 1e39}}', '{"name": 1}', '{"name": "a", "name": "b"}',
]:
    try:
        json_format.Parse(wrong, Book())
        assert wrong == "[]", f"protobuf reads {wrong}"
    except json_format.ParseError:
        pass
    status, answer = ask("POST", ECHO, wrong)
    assert status == 400 and answer["code"] == 3, (wrong, status, answer)
assert len(asked) == before

assert ask("POST", ECHO, '{"name": "fail"}') == (404, {"code": 5, "message": "no such book: 100% ü", "details": []})
status, answer = ask("GET", "/v1/shelves/a/books")
assert status == 200 and [book.get("pages", "0") for book in answer] == [str(at) for at in range(20)], answer
assert ask("GET", "/v1/shelves/a%2Fb/books/c%20d?mask=aB,c.d") == (200, {"name": "shelves/a%2Fb/books/c d"})
assert list(asked[-1].mask.paths) == ["a_b", "c.d"]
assert ask("DELETE", "/v1/shelves/a/books/b")[0] == 501, "a method that the host does not have"
print("grpc_json: all passed")
server.stop(0)
