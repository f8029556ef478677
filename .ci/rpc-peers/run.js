'use strict';
// Real peers of bolt and Dubbo2 through Ringway: what they say through it must be what they say to each other.
// usage: node run.js RINGWAY

const assert = require('assert');
const { spawn } = require('child_process');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');

const { RpcClient } = require('sofa-rpc-node').client;
const remoting = { bolt: require('sofa-bolt-node'), dubbo: require('dubbo-remoting') };
const { DirectlyDubbo, java } = require('dubbo2.js');

const quiet = { info() {}, warn() {}, error() {}, debug() {} };
const children = [];
const clients = [];
const within = (what, promise, ms = 10000) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms); });
  return Promise.race([ promise, late ]).finally(() => clearTimeout(timer));
};
const sleep = ms => new Promise(done => setTimeout(done, ms));

async function eventually(what, check) {
  for (let i = 0; i < 100; i++) {
    if (await Promise.resolve(check()).catch(() => false)) return;
    await sleep(100);
  }
  throw new Error(`${what}: not within ten seconds`);
}

async function freePorts(count) {
  const servers = await Promise.all([ ...Array(count) ].map(() => new Promise(done => {
    const server = net.createServer().listen(0, '127.0.0.1', () => done(server));
  })));
  const ports = servers.map(server => server.address().port);
  await Promise.all(servers.map(server => new Promise(done => server.close(done))));
  return ports;
}

/** Starts a process, and waits until it says `word`. */
async function start(command, args, word, stream) {
  const child = spawn(command, args, { stdio: [ 'ignore', 'pipe', 'pipe' ] });
  child.text = '';
  for (const out of [ child.stdout, child.stderr ]) out.on('data', data => { child.text += data; });
  children.push(child);
  await eventually(`${command} ${stream || ''} says ${word}`, () => {
    if (child.exitCode !== null) throw new Error(child.text);
    return child.text.includes(word);
  });
  return child;
}

const ended = child => within('the process ends', new Promise(done => child.once('exit', done)));

/** A consumer of a protocol's echo service, or of another one. */
async function consumer(name, port, interfaceName = `com.${name}.Echo`) {
  // Its default options are shared by all clients, and changed by the next one's protocol.
  const connectionOpts = { protocol: remoting[name], noDelay: true, connectTimeout: 3000 };
  const client = new RpcClient({ logger: quiet, protocol: remoting[name], connectionOpts });
  clients.push(client);
  const consumer = client.createConsumer({ interfaceName, serverHost: `127.0.0.1:${port}`, responseTimeout: 5000 });
  await consumer.ready();
  return consumer;
}

const outcome = promise => within('an answer', promise).then(value => ({ value }), error => ({ error: error.message.split('\n')[0] }));

/** A call's frame, as its consumer sends it: to a server that only listens. */
async function frame(name, methodName, args) {
  let server;
  const recorded = new Promise(done => { server = net.createServer(socket => socket.once('data', done)); });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const caller = await consumer(name, server.address().port, `com.${name}.Echo`);
  caller.invoke(methodName, args).catch(() => {});
  return within('the frame', recorded);
}

async function main(binary) {
  const [ web, admin, bolt, dubbo, down ] = await freePorts(5);
  const config = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'ringway-rpc-')), 'ringway.yaml');
  const beats = '{ heartbeat_interval: 200ms }';
  fs.writeFileSync(config, `
workers: 2
admin: { address: "127.0.0.1:${admin}" }
listeners:
  - name: mixed
    address: "127.0.0.1:${web}"
    protocol: [http1, dubbo, bolt]
    options: { dubbo: ${beats}, bolt: ${beats} }
    routes:
      virtual_hosts:
        - domains: ["*"]
          routes:
            - { match: { service: "com.bolt.*", version: "1.0" }, route: { cluster: bolt } }
            - { match: { service: "com.dubbo.*", version: "1.0" }, route: { cluster: dubbo } }
            - { match: { service: com.down.Echo }, route: { cluster: down } }
clusters:
  - { name: bolt, protocol: bolt, options: ${beats}, endpoints: ["127.0.0.1:${bolt}"] }
  - { name: dubbo, protocol: dubbo, options: ${beats}, endpoints: ["127.0.0.1:${dubbo}"] }
  - { name: down, protocol: dubbo, endpoints: ["127.0.0.1:${down}"] }
`);
  const serve = () => start(process.execPath, [ path.join(__dirname, 'server.js'), bolt, dubbo ], 'ready');
  let server = await serve();
  const ringway = await start(binary, [ 'run', '-c', config ], 'admin on');
  const stat = async name => {
    const text = await (await fetch(`http://127.0.0.1:${admin}/stats`)).text();
    return Number(new RegExp(`^${name.replace(/\./g, '\\.')}: (\\d+)$`, 'm').exec(text)?.[1]);
  };

  const big = 'x\u00e9\u4e16'.repeat(13334).slice(0, 40000);
  for (const [ name, port ] of [ [ 'bolt', bolt ], [ 'dubbo', dubbo ] ]) {
    const [ direct, through ] = [ await consumer(name, port), await consumer(name, web) ];
    for (const [ method, args ] of [ [ 'echo', [ 'hello' ]], [ 'echo', [ big ]], [ 'fail', []], [ 'nobody', []] ]) {
      const [ expected, seen ] = [ await outcome(direct.invoke(method, args)), await outcome(through.invoke(method, args)) ];
      assert.deepStrictEqual(seen, expected, `${name} ${method}`);
    }
    const many = await Promise.all([ ...Array(500).keys() ].map(i => within('500 calls', through.invoke('echo', [ `call ${i}` ]))));
    many.forEach((answer, i) => assert.strictEqual(answer, `call ${i}`));
    console.log(`ok  ${name}: calls, 40,000 characters, failures, 500 at once`);

    for (const [ service, what ] of [ [ 'com.none.Echo', 'no route' ], [ 'com.down.Echo', 'no upstream' ] ]) {
      const seen = await outcome((await consumer(name, web, service)).invoke('echo', [ 'x' ]));
      assert(seen.error && !seen.error.includes('timeout'), `${name}, ${what}: ${JSON.stringify(seen)}`);
    }
    console.log(`ok  ${name}: no route and no upstream are errors at once`);

    const raw = await frame(name, 'tell', [ `${name} one way` ]);
    if (name === 'bolt') raw[1] = 2; else raw[2] &= ~0x40;
    const socket = net.connect(web, '127.0.0.1');
    let answer = 0;
    socket.on('data', data => { answer += data.length; });
    socket.write(raw);
    await eventually('the one-way call arrives', () => server.text.includes(`told ${name} one way`));
    socket.destroy();
    console.log(`ok  ${name}: a call one way`);

    await sleep(700);
    assert.strictEqual(await within('a call after heartbeats', through.invoke('echo', [ 'still' ])), 'still');
    console.log(`ok  ${name}: heartbeats`);
  }
  assert(await stat('cluster.dubbo.upstream_rq_5xx') >= 2, 'failures are counted');

  const direct = DirectlyDubbo.from({ dubboAddress: `127.0.0.1:${web}`, dubboVersion: '2.0.2', dubboInvokeTimeout: 5 });
  const echo = direct.proxyService({
    dubboInterface: 'com.dubbo.Echo', version: '1.0', timeout: 5,
    methods: { echo(text) { return [ java.String(text) ]; } },
  });
  for (const text of [ 'hello', big ]) {
    const { res, err } = await within('dubbo2.js', echo.echo(text));
    assert.deepStrictEqual([ res, err ], [ text, null ]);
  }
  console.log('ok  dubbo2.js');

  for (const name of [ 'bolt', 'dubbo' ]) {
    const through = await consumer(name, web);
    let [ good, bad, running ] = [ 0, 0, true ];
    const load = [ ...Array(8) ].map(async () => {
      while (running) {
        const seen = await outcome(through.invoke('echo', [ 'x' ]));
        if (seen.value === 'x') good++; else bad++;
        if (seen.error) {
          assert(!seen.error.includes('nothing within'), seen.error);
          await sleep(20);
        }
      }
    });
    await eventually('calls go through', () => good > 50);
    server.kill('SIGKILL');
    await ended(server);
    await eventually('calls fail while there is no server', () => bad > 20);
    server = await serve();
    const before = good;
    await eventually('calls go through again', () => good > before + 50);
    running = false;
    await Promise.all(load);
    console.log(`ok  ${name}: a server that is killed and comes back (${good} good, ${bad} bad)`);
  }

  const slow = await Promise.all([ consumer('bolt', web), consumer('dubbo', web) ]);
  const answers = slow.map(consumer => outcome(consumer.invoke('slow', [ 'done' ])));
  await sleep(100);
  ringway.kill('SIGTERM');
  for (const answer of await Promise.all(answers)) assert.deepStrictEqual(answer, { value: 'done' });
  assert.strictEqual(await ended(ringway), 0, ringway.text);
  console.log('ok  what is under way at SIGTERM is finished');
}

const over = code => {
  children.forEach(child => child.kill('SIGKILL'));
  process.exit(code);
};
process.on('unhandledRejection', () => {});
setTimeout(() => { console.error('rpc interop: not done within two minutes'); over(1); }, 120000);
main(process.argv[2]).then(() => over(0), error => {
  console.error('rpc interop:', error);
  children.forEach(child => console.error(child.spawnargs.join(' '), child.text.slice(-2000)));
  over(1);
});
