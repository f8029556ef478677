'use strict';
// The providers: one of bolt, either version, and one of Dubbo2. Arguments: their ports. Says `ready`, and from then on what
// is called one way and which heartbeats arrive.

const { RpcServer } = require('sofa-rpc-node').server;

const quiet = { info() {}, warn() {}, error() {}, debug() {} };
const sleep = ms => new Promise(done => setTimeout(done, ms));

const service = {
  async echo(value) { return value; },
  async slow(value, ms) {
    await sleep(ms);
    return value;
  },
  async fail(why) { throw new Error(`business: ${why}`); },
  /** The business exception of Dubbo: a result, not a failure of the call. */
  async refuse(why) { return Object.assign(new Error(`refused: ${why}`), { name: 'java.lang.IllegalStateException' }); },
  async tell(text) { console.log(`told ${text}`); },
};

/** The protocol of a package, which says when a heartbeat arrives. */
function told(name, protocol) {
  const decoder = options => {
    const decoder = protocol.decoder(options);
    decoder.on('heartbeat', () => console.log(`heartbeat of ${name}`));
    return decoder;
  };
  return { ...protocol, decoder };
}

async function main([ bolt, dubbo ]) {
  const servers = [
    new RpcServer({ logger: quiet, port: Number(bolt), protocol: told('bolt', require('sofa-bolt-node')) }),
    new RpcServer({ logger: quiet, port: Number(dubbo), protocol: told('dubbo', require('dubbo-remoting')) }),
  ];
  for (const server of servers) server.on('error', () => {});
  for (const name of [ 'bolt', 'boltv2' ]) servers[0].addService({ interfaceName: `com.${name}.Echo` }, service);
  servers[1].addService({ interfaceName: 'com.dubbo.Echo' }, service);
  await Promise.all(servers.map(server => server.start()));
  console.log('ready');
}

main(process.argv.slice(2)).catch(error => {
  console.error(error);
  process.exit(1);
});
