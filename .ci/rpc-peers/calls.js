'use strict';
// Calls that go well, or fail as they would without Ringway.

const assert = require('assert');
const { Wire, consumer, directly, outcome } = require('./peers');
const { eventually, sleep, within } = require('./world');

/** Strings that a serializer may cut where it should not: 40,000 characters are more than one piece of hessian2. */
const TEXTS = [
  'hello', 'x'.repeat(40000), 'x\u00e9\u4e16'.repeat(13334).slice(0, 40000), '\u{1d11e}'.repeat(20000), 'y'.repeat(700000),
];

/** What is called, by whom, through Ringway and directly: the outcome is the same. */
async function asDirectly({ ports }, tongue) {
  const open = [ interfaceName => consumer(tongue, ports.mixed, interfaceName), interfaceName => consumer(tongue, ports[tongue.server], interfaceName) ];
  await same(tongue.title, open, tongue.name);
}

async function same(title, open, name) {
  const calls = TEXTS.map(text => [ 'echo', [ text ]]);
  calls.push([ 'slow', [ 'slowly', 50 ]], [ 'fail', [ 'no disk' ]], [ 'refuse', [ 'no money' ]], [ 'nobody', [ 'x' ]]);
  const [ through, direct ] = await Promise.all(open.map(open => open()));
  for (const [ method, args ] of calls) {
    const [ seen, expected ] = await Promise.all([ through, direct ].map(peer => outcome(peer.invoke(method, args))));
    const what = `${title}: ${method} ${String(args[0]).slice(0, 20)}`;
    assert(method === 'echo' ? expected.value === args[0] : expected.value === 'slowly' || expected.error, what);
    assert.deepStrictEqual(seen, expected, what);
  }
  const [ seen, expected ] = await Promise.all(open.map(async open => outcome((await open(`com.${name}.Unknown`)).invoke('echo', [ 'x' ]))));
  assert(expected.error, title);
  assert.deepStrictEqual(seen, expected, `${title}: an unknown service`);
}

/** dubbo2.js calls too. */
async function dubbo2js({ ports }) {
  const open = [ name => directly(ports.mixed, name), name => directly(ports.dubbo, name) ];
  await same('dubbo2.js', open, 'dubbo');
  await manyAtOnce('dubbo2.js', [ ...Array(4) ].map(() => directly(ports.mixed)));
}

/** 500 calls under way on four connections, answered in another order. */
async function atOnce({ ports }, tongue) {
  await manyAtOnce(tongue.title, await Promise.all([ ...Array(4) ].map(() => consumer(tongue, ports.mixed))));
  // On one connection too: these are more than Ringway reads at once.
  await manyAtOnce(tongue.title, [ await consumer(tongue, ports.mixed) ]);
}

async function manyAtOnce(title, peers) {
  const begun = Date.now();
  const calls = [ ...Array(500).keys() ].map(i => peers[i % peers.length].invoke('slow', [ `call ${i}`, 200 + (i * 37) % 200 ]));
  const answers = await within(`${title}: 500 calls`, Promise.all(calls));
  answers.forEach((answer, i) => assert.strictEqual(answer, `call ${i}`));
  assert(Date.now() - begun < 8000, `${title}: 500 calls waited for each other`);
}

/** Large calls between small ones, on a few connections: all pass each other. */
async function largeAtOnce({ ports }, tongue) {
  const peers = await Promise.all([ ...Array(3) ].map(() => consumer(tongue, ports.mixed)));
  const calls = [ ...Array(60).keys() ].map(async i => {
    const text = `call ${i} `.repeat(i % 3 === 0 ? 60000 + i * 997 : 1);
    assert(await peers[i % peers.length].invoke('echo', [ text ]) === text, `${tongue.title}: call ${i}`);
  });
  await within(`${tongue.title}: large calls`, Promise.all(calls), 20000);
}

/** Large ids come back whole. */
async function ids({ ports }, tongue) {
  const wire = new Wire(tongue, ports.mixed, tongue.name === 'dubbo' ? 2 ** 53 - 100 : 2 ** 31 - 100);
  const answers = await Promise.all([ ...Array(50).keys() ].map(i => wire.call('echo', [ `id ${i}` ])));
  answers.forEach((answer, i) => assert.strictEqual(answer.appResponse, `id ${i}`));
  wire.socket.destroy();
}

/** A call one way arrives, is not answered though the provider does, and is in nobody's way. */
async function oneWay({ ports, server }, tongue) {
  const wire = new Wire(tongue, ports.mixed);
  const text = `${tongue.title} one way`;
  wire.tell('tell', [ text ]);
  await eventually(text, () => server.text.includes(`told ${text}\n`));
  assert.strictEqual((await wire.call('echo', [ 'after it' ])).appResponse, 'after it');
  const { received } = wire;
  wire.tell('tell', [ `${text} again` ]);
  await eventually(text, () => server.text.includes(`told ${text} again\n`));
  await sleep(100);
  assert.strictEqual(wire.received, received, 'nobody answers a call one way');
  wire.socket.destroy();
}

/** Heartbeats: the client's are answered, Ringway sends its own to both sides, and leaves who does not answer. */
async function heartbeats({ ports, server, stat }, tongue) {
  const cluster = `cluster.beating-${tongue.name}`;
  const [ good, silent ] = [ new Wire(tongue, ports.beating), new Wire(tongue, ports.beating) ];
  silent.answersBeats = false;
  await Promise.all([ good, silent ].map(wire => wire.call('echo', [ 'x' ])));
  assert.strictEqual((await good.heartbeat()).packetType, 'heartbeat_ack');
  const opened = await stat(`${cluster}.upstream_cx_total`);
  const before = server.text.length;
  await within('a client that does not answer is left', silent.closed, 5000);
  // One more than is allowed without an answer.
  await eventually('the client gets heartbeats', () => good.beats > 3);
  await eventually('the provider gets heartbeats', () => server.text.slice(before).split(`heartbeat of ${tongue.server}`).length > 4);
  assert.strictEqual((await good.call('echo', [ 'still' ])).appResponse, 'still');
  assert.strictEqual(await stat(`${cluster}.upstream_cx_total`), opened, 'the connection to the provider is kept');
  // A call that takes longer than all of them.
  assert.strictEqual((await good.call('slow', [ 'at last', 1200 ])).appResponse, 'at last');
  good.socket.destroy();
}

/** Every protocol on one port, and its first bytes may come one by one. */
async function sniffed({ ports }, tongues) {
  const web = async () => {
    const response = await fetch(`http://127.0.0.1:${ports.mixed}/web`, { signal: AbortSignal.timeout(5000) });
    assert.deepStrictEqual([ response.status, await response.text() ], [ 200, 'hello' ]);
  };
  const slowly = async tongue => {
    const wire = new Wire(tongue, ports.mixed);
    const { bytes, answer } = wire.frame('echo', [ 'byte by byte' ]);
    for (const at of [ ...Array(24).keys() ]) {
      wire.socket.write(bytes.subarray(at, at + 1));
      await sleep(2);
    }
    wire.socket.write(bytes.subarray(24));
    assert.strictEqual((await answer).appResponse, 'byte by byte', tongue.title);
    wire.socket.destroy();
  };
  await Promise.all([ web(), ...tongues.map(slowly), web() ]);
}

/** Exceptions of services are counted apart from failures of calls. */
async function exceptionsCounted({ ports, stat }, tongue) {
  const read = () => Promise.all([ 'exception', '2xx', '4xx', '5xx' ].map(name => stat(`cluster.mixed-dubbo.upstream_rq_${name}`)));
  const before = await read();
  const peers = [ await consumer(tongue, ports.mixed), directly(ports.mixed) ];
  for (const peer of [ ...peers, ...peers ]) assert((await outcome(peer.invoke('refuse', [ 'no money' ]))).error);
  const counted = (await read()).map((count, at) => count - before[at]);
  assert.deepStrictEqual(counted, [ 4, 4, 0, 0 ]);
}

module.exports = { TEXTS, asDirectly, atOnce, dubbo2js, exceptionsCounted, heartbeats, ids, largeAtOnce, oneWay, sniffed };
