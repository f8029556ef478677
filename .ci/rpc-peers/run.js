'use strict';
// Real peers of bolt and Dubbo2 through Ringway: what they say through it must be what they say to each other.
// usage: node run.js RINGWAY [WORD]
// Of the checks whose titles have WORD in them only these; without it, all.

const calls = require('./calls');
const failures = require('./failures');
const { TONGUES } = require('./peers');
const { transcoded } = require('./transcoding');
const { toTriple } = require('./triple');
const { World } = require('./world');

const LIMIT = 150000;

for (const tongue of TONGUES) tongue.server = tongue.name === 'dubbo' ? 'dubbo' : 'bolt';
const DUBBO = TONGUES.find(tongue => tongue.name === 'dubbo');

function checks() {
  const each = (title, check) => TONGUES.map(tongue => [ `${tongue.title}: ${title}`, world => check(world, tongue) ]);
  return [
    ...each('calls, large ones, exceptions, unknown methods and services', calls.asDirectly),
    ...each('500 calls at once', calls.atOnce),
    ...each('large calls at once', calls.largeAtOnce),
    ...each('large ids', calls.ids),
    ...each('calls one way', calls.oneWay),
    ...each('heartbeats', calls.heartbeats),
    ...each('no route and no upstream', failures.nowhere),
    ...each('deadlines', failures.deadline),
    ...each('malformed frames', failures.malformed),
    ...each('a client that does not read', failures.unread),
    [ 'dubbo2.js: calls', calls.dubbo2js ],
    [ 'HTTP with JSON to Dubbo', transcoded ],
    [ 'Dubbo to Triple', world => toTriple(world, DUBBO, calls.TEXTS) ],
    [ 'exceptions are counted', world => calls.exceptionsCounted(world, DUBBO) ],
    [ 'every protocol on one port', world => calls.sniffed(world, TONGUES) ],
    [ 'a provider that is silent', world => failures.silent(world, TONGUES) ],
    [ 'a provider that is killed and comes back', world => failures.restart(world, TONGUES) ],
    [ 'Ringway drained under load', world => failures.drained(world, TONGUES) ],
  ];
}

async function main(binary, word = '') {
  await world.start(binary);
  world.stat = world.stat.bind(world);
  const chosen = checks().filter(([ title ]) => title.includes(word));
  for (const [ title, check ] of chosen) {
    const begun = Date.now();
    try {
      const more = await check(world);
      console.log(`ok  ${title}, ${Date.now() - begun} ms${more ? ` (${more})` : ''}`);
    } catch (error) {
      failed++;
      console.error(`FAILED  ${title}:`, error);
    }
  }
}

const world = new World();
let failed = 0;
const over = () => {
  world.end(failed > 0);
  process.exit(failed > 0 ? 1 : 0);
};
// Calls that nobody waits for any more.
process.on('unhandledRejection', () => {});
setTimeout(() => {
  failed++;
  console.error(`rpc interop: not done within ${LIMIT / 1000} s`);
  over();
}, LIMIT);
main(...process.argv.slice(2)).catch(error => {
  failed++;
  console.error('rpc interop:', error);
}).then(over);
