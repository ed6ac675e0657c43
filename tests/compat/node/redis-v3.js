// redis 3: callbacks.
'use strict';
const { assert, host, port, run, until, numbers } = require('./check');
const redis = require('redis-v3');
const { promisify } = require('node:util');

const connect = (options) => redis.createClient({ host, port, ...options });
const call = (client, name, ...args) => promisify(client[name]).call(client, ...args);

run({
  async 'the callback of subscribe names the channel and messages reach the listener'() {
    const [sub, pub] = [connect(), connect()];
    const got = [];
    sub.on('message', (channel, message) => got.push([channel, message]));
    assert.strictEqual(await call(sub, 'subscribe', 'v3:news'), 'v3:news');
    for (const n of numbers(100)) pub.publish('v3:news', n);
    await until(() => got.length === 100, 'all messages');
    assert.deepStrictEqual(got, numbers(100).map((n) => ['v3:news', n]));
    await call(sub, 'unsubscribe');
    assert.strictEqual(await call(sub, 'ping'), 'PONG');
    await Promise.all([call(sub, 'quit'), call(pub, 'quit')]);
  },

  async 'the events subscribe and unsubscribe carry the counts'() {
    const sub = connect();
    const events = [];
    for (const name of ['subscribe', 'psubscribe', 'unsubscribe', 'punsubscribe']) {
      sub.on(name, (what, count) => events.push([name, what, count]));
    }
    await call(sub, 'subscribe', 'v3:e1', 'v3:e2');
    await call(sub, 'psubscribe', 'v3:e*');
    await call(sub, 'punsubscribe', 'v3:e*');
    await call(sub, 'unsubscribe', 'v3:e1');
    await until(() => events.length === 5, 'all events');
    assert.deepStrictEqual(events, [['subscribe', 'v3:e1', 1], ['subscribe', 'v3:e2', 2], ['psubscribe', 'v3:e*', 3],
      ['punsubscribe', 'v3:e*', 2], ['unsubscribe', 'v3:e1', 1]]);
    await call(sub, 'quit');
  },

  async 'patterns and buffers'() {
    const [sub, pub] = [connect({ return_buffers: true }), connect()];
    const got = [];
    sub.on('pmessage', (pattern, channel, message) => got.push([String(pattern), String(channel), message]));
    await call(sub, 'psubscribe', 'v3:p:*');
    const payload = Buffer.from([0, 255, 13, 10]);
    assert.strictEqual(await call(pub, 'publish', 'v3:p:1', payload), 1);
    await until(() => got.length === 1, 'the message');
    assert.deepStrictEqual(got[0], ['v3:p:*', 'v3:p:1', payload]);
    await Promise.all([call(sub, 'quit'), call(pub, 'quit')]);
  },

  async 'multi and batch'() {
    const client = connect();
    const multi = client.multi().publish('v3:none', 'x').ping().publish('v3:none', 'y');
    assert.deepStrictEqual(await promisify(multi.exec).call(multi), [0, 'PONG', 0]);
    const batch = client.batch().ping().publish('v3:none', 'x');
    assert.deepStrictEqual(await promisify(batch.exec).call(batch), ['PONG', 0]);
    await assert.rejects(call(client, 'send_command', 'NOSUCH', []), /unknown command/);
    await call(client, 'quit');
  },

  async 'a lost connection comes back with its subscriptions'() {
    const [sub, pub] = [connect({ retry_strategy: () => 10 }), connect()];
    const got = [];
    sub.on('message', (channel, message) => got.push(message));
    sub.on('error', () => {});
    await call(sub, 'subscribe', 'v3:again');
    await call(pub, 'client', 'KILL', 'TYPE', 'pubsub');
    await until(async () => (await call(pub, 'publish', 'v3:again', 'back')) === 1, 'the subscription is back');
    await until(() => got.includes('back'), 'the message');
    sub.end(true);
    await call(pub, 'quit');
  },
});
