// ioredis in cluster mode against a cluster of one.
'use strict';
const { assert, host, port, run, until } = require('./check');
const { Cluster } = require('ioredis');

run({
  async 'a cluster client finds the node, publishes and subscribes'() {
    const cluster = new Cluster([{ host, port }]);
    await until(() => cluster.status === 'ready', 'the cluster is ready');
    assert.strictEqual(cluster.nodes('master').length, 1);
    const got = [];
    cluster.on('message', (channel, message) => got.push(message));
    assert.strictEqual(await cluster.subscribe('ioc:a'), 1);
    await until(async () => (await cluster.publish('ioc:a', 'x')) === 1, 'a receiver');
    await until(() => got.includes('x'), 'the message');
    assert.match(await cluster.cluster('INFO'), /cluster_state:ok/);
    cluster.disconnect();
  },

  async 'a cluster client with sharded subscribers uses shard channels'() {
    const cluster = new Cluster([{ host, port }], { shardedSubscribers: true });
    await until(() => cluster.status === 'ready', 'the cluster is ready');
    const got = [];
    cluster.on('smessage', (channel, message) => got.push(message));
    await cluster.ssubscribe('ioc:s');
    await until(async () => (await cluster.spublish('ioc:s', 'x')) >= 1, 'a receiver');
    await until(() => got.includes('x'), 'the message');
    cluster.disconnect();
  },
});
