'use strict';
// HTTP clients with JSON against the provider of Dubbo2.

const assert = require('assert');

/** By path: the type of the only parameter, and the method that is called. */
const CALLS = {
  text: [ 'java.lang.String', 'echo' ],
  any: [ 'java.lang.Object', 'echo' ],
  longs: [ 'java.util.List<java.lang.Long>', 'echo' ],
  ints: [ 'int[]', 'echo' ],
  number: [ 'double', 'echo' ],
  date: [ 'java.util.Date', 'echo' ],
  bytes: [ 'byte[]', 'echo' ],
  user: [ 'com.example.User', 'echo' ],
  refuse: [ 'java.lang.String', 'refuse' ],
  fail: [ 'java.lang.String', 'fail' ],
};

/** The filter of a listener, as configured. */
function filter() {
  const mappings = Object.entries(CALLS).map(([ path, [ type, method ]]) => {
    const parameters = [{ type, from: 'body' }];
    return { path: `/${path}`, service: 'com.dubbo.Echo', method, version: '1.0', timeout: '5s', parameters };
  });
  const parameters = [{ type: 'java.lang.String', from: 'path:text' }];
  mappings.push({ path: '/say/{text}', http_method: 'GET', service: 'com.dubbo.Echo', method: 'echo', version: '1.0', parameters });
  mappings.push({ path: '/nobody', service: 'com.dubbo.Nobody', method: 'echo', version: '1.0' });
  return JSON.stringify([{ http_to_dubbo: { strict: true, mappings } }]);
}

/** Sends a value, or this text in its place. */
async function ask(port, path, value, body = JSON.stringify(value)) {
  const url = `http://127.0.0.1:${port}/${path}`;
  const signal = AbortSignal.timeout(10000);
  const asked = body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  const response = await fetch(url, { ...asked, signal });
  assert.strictEqual(response.headers.get('content-type'), 'application/json');
  return [ response.status, await response.json() ];
}

/** What is echoed is what was sent, of any type; what goes wrong is told. */
async function transcoded({ ports }) {
  const port = ports.json;
  const echoed = [
    [ 'text', 'h\u00e9\u20ac\u{1f600}' ],
    [ 'text', '\u20ac\u{1f600}x'.repeat(40000) ],
    [ 'any', { a: [ 1, 2.5, null, true, 'x' ], b: { c: 4294967296 }, '\u00e9': [[ -1 ], {}] }],
    [ 'longs', [ 1, -2, 2 ** 40 ]],
    [ 'ints', [ 1, -5, 300000, 2 ** 31 - 1 ]],
    [ 'number', 2.25 ],
    [ 'number', -1.5e-100 ],
    [ 'date', '2024-02-29T12:00:00.125Z' ],
    [ 'bytes', 'AQID/w==' ],
    [ 'user', { id: 1, name: 'n', tags: [ 'a' ] }],
  ];
  for (const [ path, value ] of echoed) assert.deepStrictEqual(await ask(port, path, value), [ 200, value ], path);
  const many = [ ...Array(200).keys() ].map(async number => {
    assert.deepStrictEqual(await ask(port, 'any', { number }), [ 200, { number }]);
  });
  await Promise.all(many);
  assert.deepStrictEqual(await ask(port, 'say/a%20b%2Fc'), [ 200, 'a b/c' ]);

  const [ status, refused ] = await ask(port, 'refuse', 'no money');
  assert.strictEqual(status, 500);
  assert.match(refused.message, /refused: no money/);
  assert.match(refused.exception, /^java\.lang\./);
  const [ , failed ] = await ask(port, 'fail', 'boom');
  assert.match(failed.error, /boom/);
  assert.strictEqual(typeof failed.dubbo_status, 'number');
  assert.strictEqual(typeof (await ask(port, 'nobody', ''))[1].dubbo_status, 'number');
  for (const [ path, text ] of [[ 'ints', '[1.5]' ], [ 'text', '1' ], [ 'any', '{' ], [ 'longs', '[9223372036854775808]' ]]) {
    const [ status, { error }] = await ask(port, path, undefined, text);
    assert.strictEqual(status, 400, path);
    assert.match(error, /^parameter 1|^the content/);
  }
  return `${echoed.length + many.length} echoes`;
}

module.exports = { filter, transcoded };
