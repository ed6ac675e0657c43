// Socket.IO's sharded adapter, with ioredis and with node-redis: two servers, a client of each hears what is said at either.
// What is said while a server's connection is gone is not heard elsewhere; all else once, in the order of who says it. (Only
// when a connection breaks ioredis sends again what is not answered, and overtakes what it has put back meanwhile.)
'use strict';
const http = require('node:http');
const { assert, host, port, state, note, delay, until, main, hush } = require('./apps');
const { createShardedAdapter } = require('@socket.io/redis-adapter');
const { Server } = require('socket.io');
const { io } = require('socket.io-client');
const { createClient } = require('redis-v4');
const Redis = require('ioredis');

const breaks = []; // when connections broke
const SPELL_MS = 1000;

async function clientOf(kind) {
  if (kind === 'ioredis') {
    const client = hush(new Redis({ host, port, retryStrategy: () => 100 }));
    client.on('close', () => breaks.push(Date.now()));
    await new Promise((resolve) => client.once('ready', resolve));
    return client;
  }
  const client = hush(createClient({ url: `redis://${host}:${port}`, socket: { reconnectStrategy: () => 100 } }));
  client.on('error', () => breaks.push(Date.now()));
  await client.connect();
  return client;
}

async function serve(kind) {
  const web = http.createServer();
  const adapter = createShardedAdapter(await clientOf(kind), await clientOf(kind), { channelPrefix: kind });
  const server = new Server(web, { adapter });
  server.on('connection', (socket) => {
    socket.on('join', (room, done) => { socket.join(room); done(); });
    socket.on('say', (...words) => server.to('room').emit('said', ...words));
  });
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
  const socket = io(`http://127.0.0.1:${web.address().port}`, { transports: ['websocket'], forceNew: true });
  await new Promise((resolve) => socket.on('connect', () => socket.emit('join', 'room', resolve)));
  return socket;
}

main(async () => {
  const heardBy = new Map();
  const saidMs = new Map();
  const odd = []; // what was out of its order, or twice
  const groups = [];
  for (const kind of ['ioredis', 'node-redis']) {
    const sockets = [await serve(kind), await serve(kind)];
    groups.push({ kind, sockets, number: 0, last: [[-1, -1], [-1, -1]] });
  }
  for (const { kind, sockets, last } of groups) {
    sockets.forEach((socket, at) => socket.on('said', (from, number) => {
      if (number <= last[at][from]) odd.push({ kind, number, after: last[at][from], saidMs: saidMs.get(`${kind}-${number}`) });
      last[at][from] = Math.max(number, last[at][from]);
      const said = `${kind}-${number}`;
      heardBy.set(said, (heardBy.get(said) || 0) + 1);
      if (heardBy.get(said) === 2) note('done', said);
    }));
  }
  const say = async () => {
    for (const group of groups) {
      const from = group.number % 2;
      saidMs.set(`${group.kind}-${group.number}`, Date.now());
      group.sockets[from].emit('say', from, group.number++);
    }
    await delay(10);
  };
  while (!state.isStopped) await say();
  const begins = groups.map(({ number }) => number);
  await until(async () => {
    await say();
    return groups.every(({ last }, i) => last.every((of, at) => of[1 - at] >= begins[i]));
  }, 'all hear each other again');
  const unexplained = odd.filter(({ saidMs: at }) => !breaks.some((broke) => Math.abs(broke - at) < SPELL_MS));
  assert.deepStrictEqual(unexplained, []);
});
