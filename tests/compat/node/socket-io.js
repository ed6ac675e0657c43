// Socket.IO servers that know of each other through the broker alone: by its pub/sub, and by a stream in which clients also
// find what they missed. Two servers each; a client of one hears what the other is told.
'use strict';
const http = require('node:http');
const { assert, host, port, run, until, numbers } = require('./check');
const { createAdapter: pubsubAdapter } = require('@socket.io/redis-adapter');
const { createAdapter: streamsAdapter } = require('@socket.io/redis-streams-adapter');
const { Server } = require('socket.io');
const { io } = require('socket.io-client');
const Redis = require('ioredis');
const { createClient } = require('redis-v4');

const connect = () => new Redis(port, host);

// A server on a port of its own.
async function serve(adapter) {
  const web = http.createServer();
  const server = new Server(web, { adapter, connectionStateRecovery: { maxDisconnectionDuration: 60000 } });
  server.on('connection', (socket) => {
    socket.on('join', (room, done) => { socket.join(room); done(); });
    socket.on('say', (room, text) => server.to(room).emit('said', text));
    socket.on('ask', (done) => done('asked'));
    socket.on('question', (text, answer) => answer(text + '!'));
  });
  server.on('together', (text, answer) => answer(`here: ${text}`));
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${web.address().port}` };
}

// A client that is connected and writes down what it hears.
async function visit(url) {
  const socket = io(url, { transports: ['websocket'], reconnectionDelay: 50, forceNew: true });
  socket.heard = [];
  socket.on('said', (text) => socket.heard.push(text));
  socket.on('question', (text, answer) => answer(text + '!'));
  await until(() => socket.connected, 'the client is connected');
  return socket;
}

const emit = (socket, ...words) => new Promise((resolve) => socket.emit(...words, resolve));

// What both kinds of adapter can do.
async function together(one, two) {
  await until(async () => (await one.server.serverSideEmitWithAck('together', 'x').catch(() => [])).length === 1, 'they know each other');
  const here = await visit(one.url);
  const there = await visit(two.url);
  await emit(here, 'join', 'room');
  await emit(there, 'join', 'room');
  await until(async () => (await one.server.in('room').fetchSockets()).length === 2, 'both are in the room');
  for (const n of numbers(100)) (Number(n) % 2 ? here : there).emit('say', 'room', n);
  await until(() => here.heard.length === 100 && there.heard.length === 100, 'all is heard');
  for (const { heard } of [here, there]) {
    assert.deepStrictEqual([...heard].sort((a, b) => a - b), numbers(100));
    for (const rest of [0, 1]) {
      const own = heard.filter((n) => Number(n) % 2 === rest);
      assert.deepStrictEqual(own, [...own].sort((a, b) => a - b), 'what one client said is in order');
    }
  }
  const answers = await one.server.to('room').timeout(30000).emitWithAck('question', 'yes');
  assert.deepStrictEqual(answers.sort(), ['yes!', 'yes!']);
  two.server.in('room').socketsLeave('room');
  await until(async () => (await one.server.in('room').fetchSockets()).length === 0, 'the room is empty');
  return { here, there };
}

run({
  async 'the adapter for pub/sub joins two servers'() {
    const one = await serve(pubsubAdapter(connect(), connect(), { key: `one:${process.pid}` }));
    const two = await serve(pubsubAdapter(connect(), connect(), { key: `one:${process.pid}` }));
    await together(one, two);
  },

  async 'and with node-redis'() {
    const clients = [0, 1, 2, 3].map(() => createClient({ url: `redis://${host}:${port}` }));
    await Promise.all(clients.map((client) => client.connect()));
    const options = { key: `two:${process.pid}` }; // the servers of the first check are still there
    await together(await serve(pubsubAdapter(clients[0], clients[1], options)),
      await serve(pubsubAdapter(clients[2], clients[3], options)));
  },

  async 'the adapter for streams joins two servers, and a client that was away misses nothing'() {
    const options = { streamName: `socket.io:${process.pid}`, maxLen: 10000 };
    const one = await serve(streamsAdapter(connect(), options));
    const two = await serve(streamsAdapter(connect(), options));
    const { here, there } = await together(one, two);
    const looker = connect();
    assert.ok(await looker.xlen(options.streamName) > 100);
    await emit(there, 'join', 'away');
    await until(async () => (await one.server.in('away').fetchSockets()).length === 1, 'it is there');
    here.emit('say', 'away', 'before');
    await until(() => there.heard.includes('before'), 'it hears');
    there.io.engine.close();
    await until(() => !there.connected, 'it is away');
    here.emit('say', 'away', 'meanwhile');
    await until(() => there.connected, 'it is back');
    assert.ok(there.recovered, 'as the same one');
    await until(() => there.heard.includes('meanwhile'), 'what it missed');
  },
});
