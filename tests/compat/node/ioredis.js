// ioredis: plain and in cluster mode.
'use strict';
const { assert, ca, host, port, run, until, numbers } = require('./check');
const Redis = require('ioredis');

const connect = (options) => new Redis({ host, port, ...(ca && { tls: { ca } }), ...options });

run({
  async 'messages reach a subscriber in order'() {
    const [sub, pub] = [connect(), connect()];
    const got = [];
    sub.on('message', (channel, message) => got.push([channel, message]));
    assert.strictEqual(await sub.subscribe('io:a', 'io:b'), 2);
    for (const n of numbers(200)) assert.strictEqual(await pub.publish('io:a', n), 1);
    await until(() => got.length === 200, 'all messages');
    assert.deepStrictEqual(got.map(([, m]) => m), numbers(200));
    assert.strictEqual(await sub.unsubscribe('io:a'), 1);
    assert.strictEqual(await pub.publish('io:a', 'x'), 0);
    await Promise.all([sub.quit(), pub.quit()]);
  },

  async 'patterns and buffers arrive as they were sent'() {
    const [sub, pub] = [connect(), connect()];
    const got = [];
    sub.on('pmessageBuffer', (pattern, channel, message) => got.push([pattern.toString(), channel.toString(), message]));
    await sub.psubscribe('io:p:*');
    const payload = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    assert.strictEqual(await pub.publish('io:p:1', payload), 1);
    await until(() => got.length === 1, 'the message');
    assert.deepStrictEqual(got[0], ['io:p:*', 'io:p:1', payload]);
    await Promise.all([sub.quit(), pub.quit()]);
  },

  async 'shard channels work on a plain connection'() {
    const [sub, pub] = [connect(), connect()];
    const got = [];
    sub.on('smessage', (channel, message) => got.push([channel, message]));
    assert.strictEqual(await sub.ssubscribe('io:s'), 1);
    assert.strictEqual(await pub.spublish('io:s', 'x'), 1);
    await until(() => got.length === 1, 'the message');
    assert.strictEqual(await sub.sunsubscribe('io:s'), 0);
    await Promise.all([sub.quit(), pub.quit()]);
  },

  async 'pipelines and transactions of publishes'() {
    const client = connect();
    const pipeline = client.pipeline();
    for (const n of numbers(100)) pipeline.publish('io:none', n);
    assert.deepStrictEqual(await pipeline.exec(), numbers(100).map(() => [null, 0]));
    assert.deepStrictEqual(await client.multi().publish('io:none', 'x').ping().exec(), [[null, 0], [null, 'PONG']]);
    const results = await client.multi({ pipeline: false }).then(() => client.publish('io:none', 'x'))
      .then(() => client.exec());
    assert.deepStrictEqual(results, [[null, 0]]);
    await client.quit();
  },

  async 'a lost connection is made again and its subscriptions with it'() {
    const [sub, pub] = [connect({ retryStrategy: () => 10 }), connect()];
    const got = [];
    sub.on('message', (channel, message) => got.push(message));
    sub.on('error', () => {});
    await sub.subscribe('io:again');
    assert.ok((await pub.client('KILL', 'TYPE', 'pubsub')) >= 1);
    await until(async () => (await pub.publish('io:again', 'back')) === 1, 'the subscription is back');
    await until(() => got.includes('back'), 'the message');
    await Promise.all([sub.quit(), pub.quit()]);
  },

  async 'names, databases and the ready check'() {
    const client = connect({ connectionName: 'io-name', db: 2, enableReadyCheck: true });
    assert.strictEqual(await client.ping(), 'PONG');
    assert.strictEqual(await client.client('GETNAME'), 'io-name');
    assert.match(await client.client('INFO'), /db=2/);
    assert.match(await client.info(), /redis_version:/);
    await assert.rejects(client.call('NOSUCH', 'x'), /unknown command/);
    await client.quit();
  },

  async 'commands that are scripts'() {
    const client = connect();
    client.defineCommand('addTwice', {
      numberOfKeys: 1,
      lua: "redis.call('INCRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[1], ARGV[1])",
    });
    await client.del('io:script');
    assert.strictEqual(await client.addTwice('io:script', 2), 4);
    await client.script('FLUSH');
    assert.strictEqual(await client.addTwice('io:script', 2), 8);
    const results = await client.pipeline().addTwice('io:script', 1).get('io:script').exec();
    assert.deepStrictEqual(results, [[null, 10], [null, '10']]);
    assert.deepStrictEqual(await client.multi().addTwice('io:script', 1).get('io:script').exec(), [[null, 12], [null, '12']]);
    await assert.rejects(client.evalsha('0'.repeat(40), 0), /NOSCRIPT/);
    await client.del('io:script');
    await client.quit();
  },

  async 'autopipelining keeps the order'() {
    const [sub, pub] = [connect(), connect({ enableAutoPipelining: true })];
    const got = [];
    sub.on('message', (channel, message) => got.push(message));
    await sub.subscribe('io:auto');
    await Promise.all(numbers(500).map((n) => pub.publish('io:auto', n)));
    await until(() => got.length === 500, 'all messages');
    assert.deepStrictEqual(got, numbers(500));
    await Promise.all([sub.quit(), pub.quit()]);
  },
});
