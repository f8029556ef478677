'use strict';
// Consumers of Dubbo2 against a host that speaks Triple in its wrapper mode.

const assert = require('assert');
const http2 = require('http2');
const { consumer, directly, outcome } = require('./peers');
const { within } = require('./world');

/** The fields of a message, by number: texts, bytes and messages, as they come. */
function fields(message) {
  const found = {};
  for (let at = 0; at < message.length;) {
    const number = message[at++] >> 3;
    let length = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      more = message[at] > 0x7f;
      length |= (message[at++] & 0x7f) << shift;
    }
    (found[number] ||= []).push(message.subarray(at, at += length));
  }
  return found;
}

function field(number, value) {
  const head = [ number << 3 | 2 ];
  let length = value.length;
  for (; length > 0x7f; length >>>= 7) head.push(length & 0x7f | 0x80);
  return Buffer.concat([ Buffer.from([ ...head, length ]), Buffer.from(value) ]);
}

/** A provider: `echo` and `slow` give back their first argument, as it came; other methods are unknown. */
function serve(port, seen) {
  const server = http2.createServer();
  server.on('stream', (stream, headers) => {
    const pieces = [];
    stream.on('data', piece => pieces.push(piece));
    stream.on('error', () => {});
    stream.on('end', () => {
      const content = Buffer.concat(pieces);
      const method = headers[':path'].split('/').pop();
      seen.push(headers);
      if (method !== 'echo' && method !== 'slow') {
        const status = { 'grpc-status': '12', 'grpc-message': `no%20${method}` };
        stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto', ...status }, { endStream: true });
        return;
      }
      assert.strictEqual(content.readUInt32BE(1), content.length - 5);
      const { 1: [ type ], 2: args, 3: types } = fields(content.subarray(5));
      assert.strictEqual(`${type} ${args.length} ${types[0]}`, `hessian4 ${types.length} java.lang.String`);
      const message = Buffer.concat([ field(1, 'hessian4'), field(2, args[0]), field(3, 'java.lang.String') ]);
      const head = Buffer.alloc(5);
      head.writeUInt32BE(message.length, 1);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.concat([ head, message ]));
    });
  });
  return new Promise(done => server.listen(port, '127.0.0.1', () => done(server)));
}

/** Both kinds of consumers get what they sent, and hear what goes wrong. */
async function toTriple({ ports }, tongue, texts) {
  const seen = [];
  const server = await serve(ports.triple, seen);
  for (const peer of [ await consumer(tongue, ports.old), directly(ports.old) ]) {
    for (const text of texts) assert.strictEqual(await peer.invoke('echo', [ text ]), text, text.slice(0, 20));
    const many = [ ...Array(200).keys() ].map(async at => assert.strictEqual(await peer.invoke('slow', [ `call ${at}`, at ]), `call ${at}`));
    await within('200 calls', Promise.all(many));
    const { error } = await outcome(peer.invoke('nobody', [ 'x' ]));
    assert(error, 'an unknown method');
  }
  assert(seen.every(headers => headers[':path'].startsWith('/com.dubbo.Echo/') && headers['tri-service-version'] === '1.0'));
  server.close();
  return `${seen.length} calls`;
}

module.exports = { toTriple };
