#!/usr/bin/env node
// A sink for pipelined in JavaScript: it appends the records to a file, one JSON object per line. README.md explains it.
'use strict';

const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const VERSION = 1; // of the protocol
const WINDOW = 8192; // records that may wait here

// In a project of your own, copy sink_v1.proto beside this file.
const PROTO = path.join(__dirname, '../../sdk/sinkplugin/sink_v1.proto');

// ---- the sink itself ------------------------------------------------------------------------------------------------

const KINDS = { 11: 'policy-deny', 12: 'screen-drop', 13: 'filter-log', 14: 'session-open', 15: 'session-close', 16: 'loss' };

class FileSink {
  // configure reads the options and returns the mistakes in them. It must not touch the destination.
  configure(options) {
    const problems = [];
    for (const key of Object.keys(options)) {
      if (key !== 'path') problems.push({ key, message: 'unknown key; the keys are: path' });
    }
    if (typeof options.path !== 'string' || options.path === '') {
      problems.push({ key: 'path', message: 'must be the path of a file' });
    }
    this.path = options.path;
    return problems;
  }

  // write writes a batch, and returns when the destination has it. An error ends the run: the records come again.
  async write(batch, names, epoch) {
    let lines = '';
    for (const r of frames(batch)) {
      lines += JSON.stringify({
        epoch,
        sequence: String(r.sequence),
        kind: KINDS[r.type],
        time: new Date(Number(r.record.readBigUInt64LE(0) / 1000000n)).toISOString(),
        ingressZone: names.zones[r.record.readUInt16LE(48)],
        ...(KINDS[r.type] !== 'loss' && { // which is about many
          source: address(r.record, 8),
          sourcePort: r.record.readUInt16BE(40),
          destination: address(r.record, 24),
          destinationPort: r.record.readUInt16BE(42),
        }),
      }) + '\n';
    }
    await fs.promises.appendFile(this.path, lines);
  }
}

// frames takes a batch apart: docs/formats.md draws a frame. Nothing in it is believed before it was looked at.
function* frames(batch) {
  let rest = batch.frames;
  let sequence = BigInt(batch.first);
  for (let i = 0; i < batch.count; i++, sequence++) {
    const size = rest.length < 16 ? 0 : 16 + rest.readUInt32LE(0);
    const type = size && rest.readUInt8(4);
    if (size < 152 || size > rest.length || !KINDS[type] || rest.readBigUInt64LE(8) !== sequence) {
      throw new Error(`frame ${i} of a batch of ${batch.count} cannot be read`);
    }
    yield { sequence, type, record: rest.subarray(16, size) };
    rest = rest.subarray(size);
  }
}

function address(record, offset) {
  const bytes = record.subarray(offset, offset + 16);
  if (record.readUInt8(55) === 2) return bytes.subarray(0, 4).join('.'); // the family: 2 is IPv4
  return bytes.toString('hex').match(/.{4}/g).join(':');
}

// ---- the protocol ---------------------------------------------------------------------------------------------------

const sink = new FileSink();
let delivered = 0;
let turn = Promise.resolve(); // the run that is under way, or was

function configure(call, callback) {
  callback(null, { problems: sink.configure(JSON.parse(call.request.config)), summary: 'appends JSON lines to a file' });
}

function health(call, callback) {
  callback(null, { status: JSON.stringify({ path: sink.path }), counters: [{ name: 'delivered', value: delivered }] });
}

// deliver is one run. What arrives is queued, no more than the credit allows, and written batch by batch.
function deliver(call) {
  const queue = [];
  let epoch = '0';
  const names = new Map(); // by generation
  let draining = false;
  let stopped = false;
  let wake = () => {};

  call.on('data', (down) => {
    if (down.open) epoch = down.open.epoch;
    if (down.names) names.set(down.names.generation, down.names);
    if (down.batch) queue.push(down.batch);
    if (down.drain) draining = true;
    wake();
  });
  for (const event of ['end', 'cancelled', 'error']) { // the daemon wants the run to stop
    call.on(event, () => { stopped = true; wake(); });
  }

  const run = async () => {
    let credit = WINDOW;
    call.write({ credit });
    while (!stopped) {
      const batch = queue.shift();
      if (batch) {
        await sink.write(batch, names.get(batch.generation) || { zones: {} }, epoch);
        delivered += batch.count;
        credit += batch.count;
        call.write({ ack: String(BigInt(batch.first) + BigInt(batch.count) - 1n), credit });
      } else if (draining) {
        break;
      } else {
        await new Promise((resolve) => { wake = resolve; });
      }
    }
    call.end();
  };
  // One run at a time: the next one waits for this one to return.
  turn = turn.then(run).catch((err) => call.emit('error', { code: grpc.status.ABORTED, details: err.message }));
}

// ---- the handshake --------------------------------------------------------------------------------------------------

function main() {
  if (process.env.PIPELINED_PLUGIN !== 'sink') {
    console.error('This is a sink for pipelined, which starts it: plugin = "exec" in pipeline.toml.');
    process.exit(1);
  }
  // The daemon holds the other end of standard input: when it is gone or wants us to end, so is the input.
  process.stdin.on('end', () => process.exit(0)).resume();

  const { pipelined } = grpc.loadPackageDefinition(protoLoader.loadSync(PROTO, { keepCase: true, longs: String, defaults: true, oneofs: true }));
  const server = new grpc.Server({ 'grpc.max_receive_message_length': 64 << 20 });
  server.addService(pipelined.sink.v1.Sink.service, { configure, deliver, health, reopen: (call, callback) => callback(null, {}) });

  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, 'sink');
  server.bindAsync('unix:' + socket, grpc.ServerCredentials.createInsecure(), (err) => {
    if (err) throw err;
    // go-plugin 1, protocol version, network, address, kind of RPC, and no certificate.
    console.log(`1|${VERSION}|unix|${socket}|grpc|`);
  });
}

main();
