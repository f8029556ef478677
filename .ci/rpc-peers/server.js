'use strict';
// The providers: an echo over bolt and one over Dubbo2. Arguments: the two ports. Says `ready`, then what is called one way.

const { RpcServer } = require('sofa-rpc-node').server;

const quiet = { info() {}, warn() {}, error() {}, debug() {} };
const service = {
  async echo(text) { return text; },
  async slow(text) {
    await new Promise(done => setTimeout(done, 300));
    return text;
  },
  async fail() { throw new Error('business'); },
  async tell(text) { console.log(`told ${text}`); },
};

async function main([ bolt, dubbo ]) {
  const servers = [
    new RpcServer({ logger: quiet, port: Number(bolt) }),
    new RpcServer({ logger: quiet, port: Number(dubbo), protocol: require('dubbo-remoting') }),
  ];
  servers[0].addService({ interfaceName: 'com.bolt.Echo' }, service);
  servers[1].addService({ interfaceName: 'com.dubbo.Echo' }, service);
  await Promise.all(servers.map(server => server.start()));
  console.log('ready');
}

main(process.argv.slice(2)).catch(error => {
  console.error(error);
  process.exit(1);
});
