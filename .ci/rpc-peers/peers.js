'use strict';
// The consumers: those of the packages, and connections that are driven frame by frame with the packages' codecs.

const net = require('net');
const { RpcClient } = require('sofa-rpc-node').client;
const { DirectlyDubbo, java } = require('dubbo2.js');
const bolt = require('sofa-bolt-node');
const dubbo = require('dubbo-remoting');
const { within } = require('./world');

// This client stops asking servers that fail, by itself; what Ringway answers is of interest.
require('sofa-rpc-node/lib/client/dynamic_config').instance.circuitBreaker.forceClosed = true;

const quiet = { info() {}, warn() {}, error() {}, debug() {} };

/** bolt with other settings of its encoder. */
function boltv2(boltVersion, crcEnable) {
  return { ...bolt, encoder: options => Object.assign(bolt.encoder(options), { protocolType: 'bolt2', boltVersion, crcEnable }) };
}

/** What is spoken: the protocol by Ringway's name, and the package's codec. */
const TONGUES = [
  { title: 'bolt', name: 'bolt', protocol: bolt },
  { title: 'bolt v2', name: 'boltv2', protocol: boltv2(1, false) },
  { title: 'bolt v2 with CRC', name: 'boltv2', protocol: boltv2(2, true) },
  { title: 'dubbo', name: 'dubbo', protocol: dubbo },
];

/** A consumer by sofa-rpc-node: its `invoke(method, args)` returns a promise. It has one connection. */
async function consumer(tongue, port, interfaceName = `com.${tongue.name}.Echo`) {
  // Its default options are shared by all clients, and changed by the next one's protocol.
  const connectionOpts = { protocol: tongue.protocol, noDelay: true, connectTimeout: 3000 };
  const client = new RpcClient({ logger: quiet, protocol: tongue.protocol, connectionOpts });
  client.on('error', () => {});
  const consumer = client.createConsumer({ interfaceName, serverHost: `127.0.0.1:${port}`, responseTimeout: 8000 });
  consumer.on('error', () => {});
  await within('the consumer connects', consumer.ready());
  return consumer;
}

/** A consumer by dubbo2.js, with the same face. */
function directly(port, dubboInterface = 'com.dubbo.Echo') {
  const client = DirectlyDubbo.from({ dubboAddress: `127.0.0.1:${port}`, dubboVersion: '2.0.2', dubboInvokeTimeout: 8 });
  const strings = args => args.map(arg => (typeof arg === 'number' ? java.int(arg) : java.String(arg)));
  const methods = {};
  for (const name of [ 'echo', 'slow', 'fail', 'refuse', 'nobody' ]) methods[name] = (...args) => strings(args);
  const service = client.proxyService({ dubboInterface, version: '1.0', timeout: 8000, methods });
  return {
    async invoke(method, args) {
      const { res, err } = await service[method](...args);
      if (err) throw err;
      return res;
    },
  };
}

/** A connection on which every frame is sent and seen. */
class Wire {
  constructor(tongue, port, firstId = 1) {
    this.tongue = tongue;
    this.id = firstId;
    this.waiting = new Map();
    this.received = 0;
    this.beats = 0;
    /** What Dubbo's events say; heartbeats say nothing. */
    this.events = [];
    this.answersBeats = true;
    this.socket = net.connect(port, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.closed = new Promise(done => this.socket.once('close', done));
    this.socket.on('error', () => {});
    this.socket.on('data', data => { this.received += data.length; });
    this.encoder = tongue.protocol.encoder({ sentReqs: new Map(), classCache: new Map() });
    this.encoder.pipe(this.socket);
    const decoder = tongue.protocol.decoder({ sentReqs: new Map(), classCache: new Map() });
    decoder.on('error', error => this.socket.destroy(error));
    for (const type of [ 'response', 'heartbeat_ack' ]) decoder.on(type, frame => this.answered(frame));
    decoder.on('heartbeat', frame => {
      this.beats++;
      this.events.push(frame.data);
      if (this.answersBeats) this.encoder.writeHeartbeatAck(frame);
    });
    this.socket.pipe(decoder);
  }

  answered(frame) {
    const done = this.waiting.get(frame.packetId);
    this.waiting.delete(frame.packetId);
    if (done) done(frame);
  }

  /** The answer to the next id, with its error if it has one. */
  next(what) {
    const id = this.id++;
    const answer = new Promise((done, failed) => {
      this.waiting.set(id, done);
      this.closed.then(() => failed(new Error(`${what}: the connection is closed`)));
    });
    const timely = within(what, answer);
    // Whoever does not wait for it does not want to know.
    timely.catch(() => {});
    return { id, answer: timely };
  }

  data(answer) {
    const data = answer.then(frame => frame.data);
    data.catch(() => {});
    return data;
  }

  request(methodName, args, more) {
    const serverSignature = `com.${this.tongue.name}.Echo:1.0`;
    const requestProps = { ...more?.requestProps };
    return { serverSignature, methodName, args, timeout: 8000, meta: {}, ...more, requestProps };
  }

  call(methodName, args, more) {
    const { id, answer } = this.next(methodName);
    this.encoder.writeRequest(id, this.request(methodName, args, more));
    return this.data(answer);
  }

  /** The bytes of a call, to be sent in another way. */
  frame(methodName, args, more) {
    const { id, answer } = this.next(methodName);
    const { encodeOptions, protocol } = this.encoder;
    const bytes = protocol.requestEncode(id, this.request(methodName, args, more), { ...encodeOptions });
    return { bytes: Buffer.from(bytes), answer: this.data(answer) };
  }

  /** Calls one way. */
  tell(methodName, args) {
    if (this.tongue.name !== 'dubbo') {
      this.encoder.writeRequest(this.id++, this.request(methodName, args, { oneway: true }));
      return;
    }
    // The package has no word for it: a call without the flag of two ways.
    const { bytes } = this.frame(methodName, args);
    bytes[2] &= ~0x40;
    this.socket.write(bytes);
  }

  heartbeat() {
    const { id, answer } = this.next('heartbeat');
    this.encoder.writeHeartbeat(id, { timeout: 3000 });
    return answer;
  }
}

/** What a call comes to, as its caller sees it, to be compared. */
async function outcome(promise) {
  try {
    return { value: await within('an answer', promise) };
  } catch (error) {
    if (error.code === 'ERR_ASSERTION') throw error;
    return { error: `${error.name}: ${String(error.message).split('\n')[0]}` };
  }
}

module.exports = { TONGUES, Wire, consumer, directly, outcome };
