'use strict';
// Ringway and the providers behind it, as processes; nothing is waited for without end.

const assert = require('assert');
const { spawn } = require('child_process');
const fs = require('fs');
const http = require('http');
const net = require('net');
const os = require('os');
const path = require('path');
const transcoding = require('./transcoding');

const sleep = ms => new Promise(done => setTimeout(done, ms));

/** What `promise` comes to, or a failure after `ms`. */
function within(what, promise, ms = 10000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `${what}: nothing within ${ms} ms` })), ms);
  });
  return Promise.race([ promise, late ]).finally(() => clearTimeout(timer));
}

/** Waits until `check` holds. */
async function eventually(what, check, ms = 10000) {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await check()) return;
    await sleep(20);
  }
  assert.fail(`${what}: not within ${ms} ms`);
}

async function freePorts(count) {
  const servers = await Promise.all([ ...Array(count) ].map(() => new Promise(done => {
    const server = net.createServer().listen(0, '127.0.0.1', () => done(server));
  })));
  const ports = servers.map(server => server.address().port);
  await Promise.all(servers.map(server => new Promise(done => server.close(done))));
  return ports;
}

const BEATS = '{ heartbeat_interval: 200ms }';
const RPC = [ 'bolt', 'boltv2', 'dubbo' ];

/** `mixed` takes every protocol; `beating` too, and there both sides are to be heard of every 200 ms. */
function configuration(ports) {
  const options = name => (name === 'beating' ? BEATS : '{}');
  const listener = name => `
  - name: ${name}
    address: "127.0.0.1:${ports[name]}"
    protocol: [http1, dubbo, bolt, boltv2]
    routes: ${name}
    options: { ${RPC.map(protocol => `${protocol}: ${options(name)}`).join(', ')} }`;
  const routes = name => `
  ${name}:
    virtual_hosts:
      - domains: ["*"]
        routes:${RPC.map(protocol => `
          - { match: { service: "com.${protocol}.*", version: "1.0" }, route: { cluster: ${name}-${protocol} } }
          - { match: { service: com.down.${protocol} }, route: { cluster: down-${protocol} } }`).join('')}
          - { match: { prefix: /web }, route: { cluster: web } }`;
  const clusters = (name, options, port) => RPC.map(protocol => `
  - { name: ${name}-${protocol}, protocol: ${protocol}, options: ${options}, endpoints: ["127.0.0.1:${port(protocol)}"] }`).join('');
  const provider = protocol => (protocol === 'dubbo' ? ports.dubbo : ports.bolt);
  return `workers: 2
admin: { address: "127.0.0.1:${ports.admin}" }
listeners:${listener('mixed')}${listener('beating')}
  - { name: json, address: "127.0.0.1:${ports.json}", routes: mixed, filters: ${transcoding.filter()} }
  - { name: old, address: "127.0.0.1:${ports.old}", protocol: dubbo, routes: triple, filters: [{ dubbo_to_triple: {} }] }
routes:
  triple: { virtual_hosts: [{ domains: ["*"], routes: [{ match: { service: "*" }, route: { cluster: triple } }] }] }${routes('mixed')}${routes('beating')}
clusters:${clusters('mixed', '{}', provider)}${clusters('beating', BEATS, provider)}${clusters('down', '{}', () => ports.down)}
  - { name: triple, protocol: http2, endpoints: ["127.0.0.1:${ports.triple}"] }
  - { name: web, endpoints: ["127.0.0.1:${ports.web}"] }
`;
}

class World {
  /** Starts Ringway and the providers. */
  async start(binary) {
    const names = [ 'mixed', 'beating', 'admin', 'bolt', 'dubbo', 'down', 'web', 'json', 'old', 'triple' ];
    const free = await freePorts(names.length);
    this.ports = Object.fromEntries(names.map((name, at) => [ name, free[at] ]));
    this.children = [];
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ringway-rpc-'));
    const config = path.join(this.dir, 'ringway.yaml');
    fs.writeFileSync(config, configuration(this.ports));
    http.createServer((_, response) => response.end('hello')).listen(this.ports.web, '127.0.0.1');
    await this.serve();
    this.ringway = await this.spawn(binary, [ 'run', '-c', config ], 'admin on');
  }

  /** Starts the providers. */
  async serve() {
    const args = [ path.join(__dirname, 'server.js'), this.ports.bolt, this.ports.dubbo ];
    this.server = await this.spawn(process.execPath, args, 'ready');
  }

  /** A process, once it has said `word`. */
  async spawn(command, args, word) {
    const child = spawn(command, args, { stdio: [ 'ignore', 'pipe', 'pipe' ] });
    child.text = '';
    for (const out of [ child.stdout, child.stderr ]) out.on('data', data => { child.text += data; });
    child.ended = new Promise(done => child.once('exit', done));
    this.children.push(child);
    await eventually(`${command} says ${word}`, () => {
      assert.strictEqual(child.exitCode, null, child.text);
      return child.text.includes(word);
    });
    return child;
  }

  /** One of Ringway's statistics. */
  async stat(name) {
    const response = await fetch(`http://127.0.0.1:${this.ports.admin}/stats`, { signal: AbortSignal.timeout(5000) });
    const line = (await response.text()).split('\n').find(line => line.startsWith(`${name}: `));
    assert(line, `there is no statistic ${name}`);
    return Number(line.slice(name.length + 2));
  }

  /** Ends all there is, and tells what was said if something went wrong. */
  end(failed) {
    for (const child of this.children || []) {
      child.kill('SIGKILL');
      if (failed) console.error(child.spawnargs.slice(0, 2).join(' '), child.text.slice(-2000));
    }
    if (this.dir) fs.rmSync(this.dir, { recursive: true });
  }
}

module.exports = { World, eventually, sleep, within };
