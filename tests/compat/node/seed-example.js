// The subscribe and publish example of the redis 3 era, as people copy it: no waiting, callbacks only.
'use strict';
const { assert, host, port, run, until } = require('./check');
const redis = require('redis-v3');

run({
  async 'subscribe with a callback, listen, publish'() {
    const subscriber = redis.createClient(port, host);
    const publisher = redis.createClient(port, host);
    const lines = [];
    subscriber.subscribe('seed:js:news', (err) => {
      assert.ifError(err);
      lines.push('subscribed');
      publisher.publish('seed:js:news', 'Hello from Node.js!');
    });
    subscriber.on('message', (channel, message) => lines.push(`Received message from ${channel}: ${message}`));
    await until(() => lines.length === 2, 'the message');
    assert.deepStrictEqual(lines, ['subscribed', 'Received message from seed:js:news: Hello from Node.js!']);
    subscriber.end(true);
    publisher.end(true);
  },
});
