// node-redis 4 and 5 in cluster mode against a cluster of one.
'use strict';
const { assert, host, port, run, until } = require('./check');

// The check for one version.
function clusterCheck(redis, prefix) {
  return async () => {
    const cluster = redis.createCluster({ rootNodes: [{ socket: { host, port } }] });
    cluster.on('error', () => {});
    await cluster.connect();
    assert.strictEqual(cluster.masters.length, 1);
    const got = [];
    await cluster.subscribe(`${prefix}:a`, (message) => got.push(message));
    await cluster.sSubscribe(`${prefix}:s`, (message) => got.push(message));
    await until(async () => (await cluster.publish(`${prefix}:a`, 'plain')) === 1, 'a receiver');
    await until(async () => (await cluster.sPublish(`${prefix}:s`, 'shard')) === 1, 'a receiver');
    await until(() => got.includes('plain') && got.includes('shard'), 'both messages');
    await cluster.sUnsubscribe(`${prefix}:s`);
    await cluster.unsubscribe(`${prefix}:a`);
    await (cluster.close ? cluster.close() : cluster.quit());
  };
}

run({
  'redis 4 works in cluster mode': clusterCheck(require('redis-v4'), 'c4'),
  'redis 5 works in cluster mode': clusterCheck(require('redis-v5'), 'c5'),
});
