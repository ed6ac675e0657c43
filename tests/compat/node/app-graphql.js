// GraphQL subscriptions: two servers, each with subscribers of its own, hear what either publishes. What is published while
// a subscriber's connection is gone it does not hear; all else it hears once, in the order of each publisher.
'use strict';
const { assert, host, port, state, note, delay, until, main, hush } = require('./apps');
const { RedisPubSub } = require('graphql-redis-subscriptions');
const { buildSchema, parse, subscribe } = require('graphql');
const Redis = require('ioredis');

const connect = () => hush(new Redis({ host, port, retryStrategy: () => 100 }));
const schema = buildSchema('type Query { none: Int } type Said { from: Int! number: Int! } type Subscription { said: Said! }');
const document = parse('subscription { said { from number } }');

const heardBy = new Map(); // what was said -> by how many
const servers = [0, 1].map(() => new RedisPubSub({ publisher: connect(), subscriber: connect() }));
const subscribers = [0, 1, 0, 1].map((server) => ({ server, last: [-1, -1] }));

// Take what comes; never twice, never out of order.
async function listen(subscriber) {
  const pubsub = servers[subscriber.server];
  const answers = await subscribe({ schema, document, rootValue: { said: () => pubsub.asyncIterator('said') } });
  (async () => {
    for await (const { data } of answers) {
      const { from, number } = data.said;
      assert.ok(number > subscriber.last[from], `${from} said ${number} after ${subscriber.last[from]}`);
      subscriber.last[from] = number;
      const said = `${from}-${number}`;
      heardBy.set(said, (heardBy.get(said) || 0) + 1);
      if (heardBy.get(said) === subscribers.length) note('done', said);
    }
  })();
}

main(async () => {
  await Promise.all(subscribers.map(listen));
  let number = 0;
  const say = async (from) => {
    await servers[from].publish('said', { said: { from, number: number++ } }).catch(() => note('unsure', number));
    await delay(10);
  };
  while (!state.isStopped) await say(number % 2);
  const begin = number;
  await until(async () => {
    await say(number % 2);
    return subscribers.every(({ last }) => Math.max(...last) >= begin);
  }, 'all hear again');
});
