'use strict';
// What happens when something is not there, or goes away.

const assert = require('assert');
const { Wire, consumer, directly, outcome } = require('./peers');
const { eventually, sleep, within } = require('./world');

/** An error that was answered: neither a client's own impatience, nor a connection that was closed. */
function assertAnswered({ error }, what) {
  assert(error?.startsWith('Error: ') && !/remote invoke timeout|socket-worker|the connection is closed/.test(error), `${what}: ${error}`);
}

/** No route and no upstream: an answer of the protocol, at once. */
async function nowhere({ ports }, tongue) {
  for (const [ service, what ] of [ [ 'com.none.Echo', 'no route' ], [ `com.down.${tongue.name}`, 'no upstream' ] ]) {
    const begun = Date.now();
    const peers = [ await consumer(tongue, ports.mixed, service) ];
    if (tongue.name === 'dubbo') peers.push(directly(ports.mixed, service));
    for (const peer of peers) assertAnswered(await outcome(peer.invoke('echo', [ 'x' ])), `${tongue.title}, ${what}`);
    assert(Date.now() - begun < 2000, `${tongue.title}, ${what}: at once`);
  }
}

/** A call that takes longer than its caller allows is answered by Ringway. */
async function deadline({ ports }, tongue) {
  const wire = new Wire(tongue, ports.mixed);
  const begun = Date.now();
  const answer = await wire.call('slow', [ 'too late', 1500 ], { timeout: 300, requestProps: { timeout: '300' } });
  assert(answer.error, `${tongue.title}: ${JSON.stringify(answer)}`);
  const took = Date.now() - begun;
  assert(took >= 250 && took < 1400, `${tongue.title}: ${took} ms`);
  // The provider's late answer goes to nobody.
  const { received } = wire;
  await sleep(1500);
  assert.strictEqual(wire.received, received, tongue.title);
  assert.strictEqual((await wire.call('echo', [ 'next' ])).appResponse, 'next');
  wire.socket.destroy();
}

/** A frame that is too long is answered, and so is one that was damaged; what is no frame ends the connection. */
async function malformed({ ports }, tongue) {
  const large = new Wire(tongue, ports.mixed);
  const answer = await large.call('echo', [ 'x'.repeat(9 << 20) ]);
  assert(answer.error, `${tongue.title}: too large`);
  await within('the connection ends', large.closed);

  const garbage = new Wire(tongue, ports.mixed);
  assert.strictEqual((await garbage.call('echo', [ 'first' ])).appResponse, 'first');
  garbage.socket.write(Buffer.from('not a frame at all, and long enough to be one'));
  await within('the connection ends', garbage.closed);

  if (tongue.title.includes('CRC')) {
    const damaged = new Wire(tongue, ports.mixed);
    const { bytes, answer } = damaged.frame('echo', [ 'damaged' ]);
    bytes[bytes.length - 10] ^= 1;
    damaged.socket.write(bytes);
    assert((await answer).error, 'a damaged frame');
    damaged.socket.destroy();
  }
}

/** A provider that is there and says nothing: heartbeats tell, its calls are answered with an error, and it may come back. */
async function silent({ ports, server }, tongues) {
  // Connections that answer heartbeats, as sofa-rpc-node's do not.
  const wires = tongues.map(tongue => new Wire(tongue, ports.beating));
  const peers = wires.map(wire => ({
    async invoke(method, args) {
      const { appResponse, error } = await wire.call(method, args);
      if (error) throw error;
      return appResponse;
    },
  }));
  for (const peer of peers) assert.strictEqual(await peer.invoke('echo', [ 'x' ]), 'x');
  server.kill('SIGSTOP');
  try {
    // The first finds a connection, the second may have to open one.
    for (const what of [ 'on a connection', 'on another connection' ]) {
      const begun = Date.now();
      const seen = await Promise.all(peers.map(peer => outcome(peer.invoke('echo', [ 'x' ]))));
      seen.forEach((seen, at) => assertAnswered(seen, `${tongues[at].title}, ${what}`));
      assert(Date.now() - begun < 5000, `${what}: ${Date.now() - begun} ms`);
    }
  } finally {
    server.kill('SIGCONT');
  }
  for (const peer of peers) {
    await eventually('calls go through again', async () => (await outcome(peer.invoke('echo', [ 'again' ]))).value === 'again');
  }
  for (const wire of wires) wire.socket.destroy();
}

/** A client that asks for much and reads nothing: others are served. */
async function unread({ ports }, tongue) {
  const deaf = new Wire(tongue, ports.mixed);
  await deaf.call('echo', [ 'x' ]);
  deaf.socket.removeAllListeners('data');
  deaf.socket.unpipe();
  deaf.socket.pause();
  const patient = { timeout: 60000, requestProps: { timeout: '60000' } };
  for (let i = 0; i < 60; i++) deaf.call('echo', [ 'x'.repeat(700000) ], patient).catch(() => {});
  const others = await Promise.all([ ...Array(4) ].map(() => consumer(tongue, ports.mixed)));
  // What was under way on a connection when it came to stand still has to wait.
  await eventually('others are served at once', async () => {
    const calls = [ ...Array(40).keys() ].map(i => others[i % others.length].invoke('echo', [ 'x' ]));
    for (const call of calls) call.catch(() => {});
    return Promise.race([ Promise.all(calls).then(() => true, () => false), sleep(1000).then(() => false) ]);
  }, 15000);
  deaf.socket.destroy();
}

/** Callers that do nothing else: their good answers are counted, and their bad ones must have been answers. */
function load(peers, text) {
  const load = { good: 0, bad: 0, longest: 0, running: true };
  load.done = Promise.all(peers.map(async peer => {
    while (load.running) {
      const begun = Date.now();
      const seen = await outcome(peer.invoke('echo', [ text ]));
      load.longest = Math.max(load.longest, Date.now() - begun);
      if (seen.error) {
        assertAnswered(seen, 'a call while there is no provider');
        load.bad++;
        await sleep(10);
      } else {
        assert.strictEqual(seen.value, text);
        load.good++;
      }
    }
  }));
  // Told by whoever waits for it.
  load.done.catch(() => { load.running = false; });
  return load;
}

/** The provider is killed under load, and comes back: calls fail with an answer, then succeed; no client loses its connection. */
async function restart(world, tongues) {
  const { ports } = world;
  const loads = [];
  for (const tongue of tongues) {
    const peers = await Promise.all([ ...Array(8) ].map((_, i) => consumer(tongue, ports.mixed).then(peer => [ peer, i ])));
    const peersOnly = peers.map(([ peer ]) => peer);
    if (tongue.name === 'dubbo') peersOnly.push(directly(ports.mixed));
    loads.push([ tongue.title, load(peersOnly, 'under load') ]);
  }
  const all = check => () => loads.every(([ , load ]) => !load.running || check(load));
  await eventually('calls go through', all(load => load.good > 50));
  world.server.kill('SIGKILL');
  await within('the provider ends', world.server.ended);
  await eventually('calls fail while there is no provider', all(load => load.bad > 20));
  await world.serve();
  const before = new Map(loads.map(([ , load ]) => [ load, load.good ]));
  await eventually('calls go through again', all(load => load.good > before.get(load) + 50));
  for (const [ title, load ] of loads) {
    load.running = false;
    await within(`${title}: all calls end`, load.done);
    assert(load.longest < 2000, `${title}: a call took ${load.longest} ms`);
  }
  return loads.map(([ title, load ]) => `${title} ${load.good} good, ${load.bad} bad, ${load.longest} ms at most`).join('; ');
}

/** At SIGTERM, under load, what has been asked is answered, and Ringway ends well. */
async function drained({ ports, ringway }, tongues) {
  const callers = [];
  for (const tongue of tongues) {
    for (let i = 0; i < 4; i++) callers.push(await consumer(tongue, ports.mixed));
  }
  callers.push(directly(ports.mixed));
  const told = new Wire(tongues.find(tongue => tongue.name === 'dubbo'), ports.mixed);
  assert.strictEqual((await told.call('echo', [ 'x' ])).appResponse, 'x');
  let running = true;
  let [ finished, late ] = [ 0, 0 ];
  let asked = 0;
  const loops = callers.map(async (peer, at) => {
    while (running) {
      asked++;
      await peer.invoke('slow', [ `loop ${at}`, 30 ]).then(() => { finished++; }, () => { late++; });
      if (late) break;
    }
  });
  const slow = callers.map((peer, at) => outcome(peer.invoke('slow', [ `call ${at}`, 700 ])));
  await eventually('calls go through', () => finished > callers.length * 5);
  assert.strictEqual(late, 0, 'before SIGTERM');
  ringway.kill('SIGTERM');
  await eventually('clients of Dubbo are told', () => told.events.includes('R'));
  await within('a connection without calls ends', told.closed);
  const answers = await Promise.all(slow);
  answers.forEach((answer, at) => assert.deepStrictEqual(answer, { value: `call ${at}` }));
  running = false;
  await within('all calls end', Promise.all(loops));
  assert.strictEqual(await within('Ringway ends', ringway.ended, 20000), 0, ringway.text);
  return `${asked} asked, ${finished} answered, ${late} too late`;
}

module.exports = { deadline, drained, malformed, nowhere, restart, silent, unread };
