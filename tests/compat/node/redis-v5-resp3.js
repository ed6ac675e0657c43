// redis 5 in RESP3, where a subscriber may also run commands.
'use strict';
const { assert, ca, host, port, run, until } = require('./check');
const { checks } = require('./modern');
const redis = require('redis-v5');

run({
  ...checks(redis, 'v5r3', { RESP: 3 }),

  async 'one connection subscribes, publishes and runs commands'() {
    const client = await redis.createClient({ socket: { host, port, ...(ca && { tls: true, ca }) }, RESP: 3 }).connect();
    const got = [];
    await client.subscribe('v5r3:one', (message) => got.push(message));
    assert.strictEqual(await client.publish('v5r3:one', 'x'), 1);
    assert.strictEqual(await client.ping(), 'PONG');
    await until(() => got.length === 1, 'the message');
    await client.close();
  },
});
