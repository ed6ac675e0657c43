// modern: what the promise-based node-redis versions 4 and 5 have in common. `redis` is the module under test.
'use strict';
const { assert, ca, host, port, until, numbers } = require('./check');

// The checks for one version; `options` go to every client.
function checks(redis, prefix, options) {
  const connect = async (more) => {
    const socket = { host, port, reconnectStrategy: () => 10, ...(ca && { tls: true, ca }) };
    const client = redis.createClient({ socket, ...options, ...more });
    client.on('error', () => {});
    return client.connect();
  };
  const close = (...clients) => Promise.all(clients.map((c) => (c.close ? c.close() : c.quit())));

  return {
    async 'listeners of channels get their messages in order'() {
      const [sub, pub] = [await connect(), await connect()];
      const [got, other] = [[], []];
      await sub.subscribe(`${prefix}:a`, (message, channel) => got.push([channel, message]));
      await sub.subscribe(`${prefix}:b`, (message) => other.push(message));
      const counts = await Promise.all(numbers(300).map((n) => pub.publish(`${prefix}:a`, n)));
      assert.deepStrictEqual(counts, numbers(300).map(() => 1));
      await until(() => got.length === 300, 'all messages');
      assert.deepStrictEqual(got.map(([, m]) => m), numbers(300));
      assert.deepStrictEqual(other, []);
      await sub.unsubscribe(`${prefix}:a`);
      assert.strictEqual(await pub.publish(`${prefix}:a`, 'x'), 0);
      assert.strictEqual(await pub.publish(`${prefix}:b`, 'x'), 1);
      await until(() => other.length === 1, 'the other listener');
      await close(sub, pub);
    },

    async 'patterns, buffers and shard channels'() {
      const [sub, pub] = [await connect(), await connect()];
      const got = [];
      await sub.pSubscribe(`${prefix}:p:*`, (message, channel) => got.push([channel.toString(), message]), true);
      await sub.sSubscribe(`${prefix}:s`, (message) => got.push(['shard', message]));
      const payload = Buffer.from([0, 255, 13, 10]);
      assert.strictEqual(await pub.publish(`${prefix}:p:1`, payload), 1);
      assert.strictEqual(await pub.sPublish(`${prefix}:s`, 'x'), 1);
      await until(() => got.length === 2, 'both messages');
      assert.deepStrictEqual(got, [[`${prefix}:p:1`, payload], ['shard', 'x']]);
      await sub.pUnsubscribe();
      await sub.sUnsubscribe(`${prefix}:s`);
      assert.strictEqual(await pub.publish(`${prefix}:p:1`, 'x'), 0);
      await close(sub, pub);
    },

    async 'transactions of publishes'() {
      const client = await connect();
      assert.deepStrictEqual(await client.multi().publish(`${prefix}:none`, 'x').ping().exec(), [0, 'PONG']);
      await assert.rejects(client.sendCommand(['NOSUCH', 'x']), /unknown command/);
      await close(client);
    },

    async 'a killed subscriber reconnects and subscribes again'() {
      const [sub, pub] = [await connect(), await connect()];
      const got = [];
      await sub.subscribe(`${prefix}:again`, (message) => got.push(message));
      await pub.sendCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']);
      await until(async () => (await pub.publish(`${prefix}:again`, 'back')) === 1, 'the subscription is back');
      await until(() => got.includes('back'), 'the message');
      await close(sub, pub);
    },

    async 'introspection is understood'() {
      const client = await connect({ name: `${prefix}-name` });
      assert.strictEqual(await client.clientGetName(), `${prefix}-name`);
      const id = await client.clientId();
      assert.strictEqual((await client.clientInfo()).id, id);
      assert.ok((await client.clientList()).some((entry) => entry.id === id));
      assert.match(await client.info(), /redis_version:/);
      assert.ok((await client.commandCount()) > 20);
      assert.deepStrictEqual({ ...(await client.configGet('maxclients')) }, { maxclients: '10000' });
      assert.deepStrictEqual({ ...(await client.pubSubNumSub(`${prefix}:nobody`)) }, { [`${prefix}:nobody`]: 0 });
      assert.ok(Array.isArray(await client.pubSubChannels('nosuch*')));
      await close(client);
    },
  };
}

module.exports = { checks };
