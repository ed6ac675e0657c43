// users: ioredis and node-redis as a user with a password, and as one whom a certificate names: CHECK_USER_CERT and CHECK_USER_KEY.
'use strict';
const fs = require('node:fs');
const { assert, ca, host, port, run, until } = require('./check');
const Redis = require('ioredis');

const own = { ca, cert: fs.readFileSync(process.env.CHECK_USER_CERT), key: fs.readFileSync(process.env.CHECK_USER_KEY) };
const [user, password] = ['app', 'app-password'];

// Each gives { command(...words), subscribe(channel, listener), close() }.
const clients = {
  async ioredis(login, tls) {
    const client = new Redis({ host, port, tls, ...login, retryStrategy: null, lazyConnect: true });
    client.on('error', () => {});
    await client.connect();
    return {
      command: (name, ...args) => client.call(name, ...args),
      subscribe: async (channel, listener) => {
        client.on('message', (_, message) => listener(message));
        await client.subscribe(channel);
      },
      close: () => client.disconnect(),
    };
  },
};
for (const [name, RESP] of [['redis-v4', 2], ['redis-v5', 2], ['redis-v5', 3]]) {
  clients[`${name} RESP${RESP}`] = async ({ username, password: secret } = {}, tls) => {
    const socket = { host, port, tls: true, ...tls, reconnectStrategy: false };
    const client = require(name).createClient({ socket, username, password: secret, RESP });
    client.on('error', () => {});
    await client.connect();
    return {
      command: (...words) => client.sendCommand(words),
      subscribe: (channel, listener) => client.subscribe(channel, listener),
      close: () => (client.destroy ? client.destroy() : client.disconnect()),
    };
  };
}

async function holdsForUser(connect, login, tls) {
  const client = await connect(login, tls);
  const subscriber = await connect(login, tls);
  const got = [];
  assert.strictEqual(await client.command('ACL', 'WHOAMI'), user);
  assert.strictEqual(await client.command('SET', 'app:k', 'v'), 'OK');
  await assert.rejects(client.command('GET', 'other'), /NOPERM No permissions to access a key/);
  await assert.rejects(client.command('FLUSHALL'), /NOPERM User app has no permissions to run the 'flushall' command/);
  await assert.rejects(client.command('PUBLISH', 'other', 'x'), /NOPERM No permissions to access a channel/);
  await subscriber.subscribe('app:c', (message) => got.push(message));
  assert.strictEqual(Number(await client.command('PUBLISH', 'app:c', 'hello')), 1);
  await until(() => got.length === 1, 'the message');
  assert.deepStrictEqual(got, ['hello']);
  client.close();
  subscriber.close();
}

const checks = {};
for (const [name, connect] of Object.entries(clients)) {
  checks[`${name}: a user by name and password`] = () => holdsForUser(connect, { username: user, password }, { ca });
  checks[`${name}: a user by certificate`] = () => holdsForUser(connect, undefined, own);
  checks[`${name}: a wrong password is an error`] = () =>
    assert.rejects(connect({ username: user, password: 'no' }, { ca }).then((client) => client.command('PING')),
      /WRONGPASS|Connection is closed|NOAUTH/);
}
run(checks);
