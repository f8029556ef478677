"""WebSockets through a proxy, in plaintext and over TLS: messages of all sizes, pings, an orderly close.

Takes the port to serve on, the proxy's ports for plaintext and TLS, and the authority's file.
"""

import asyncio
import ssl
import sys

import websockets

SERVER, PLAIN, TLS = (int(port) for port in sys.argv[1:4])
trust = ssl.create_default_context(cafile=sys.argv[4])


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def converse(url, **options):
    async with websockets.connect(url, max_size=None, **options) as socket:
        for message in ["hello", b"\0\xff", "x" * 126, b"y" * 65_536, b"z" * (2 << 20)]:
            await socket.send(message)
            assert await socket.recv() == message, len(message)
        await (await socket.ping())


async def refused(url):
    try:
        await converse(url)
    except websockets.exceptions.InvalidStatus as error:
        return error.response.status_code
    return None


async def main():
    async with websockets.serve(echo, "127.0.0.1", SERVER, max_size=None):
        await converse(f"ws://127.0.0.1:{PLAIN}/socket")
        await converse(f"wss://localhost:{TLS}/socket", ssl=trust)
        await asyncio.gather(*(converse(f"ws://127.0.0.1:{PLAIN}/socket") for _ in range(50)))
        # Where the route does not allow it.
        assert await refused(f"ws://127.0.0.1:{PLAIN}/") == 403
    print("websocket: all passed")


asyncio.run(main())
