// Redlock on ioredis, as `acquire` and as `using`: whoever has the lock is alone, as long as it is sure that it still has it.
'use strict';
const { assert, host, port, state, note, delay, main, hush } = require('./apps');
const Redis = require('ioredis');
const { default: Redlock } = require('redlock');

const TTL_MS = 3000;
const inside = { one: null, two: null };

// Alone for a moment. `expires`: in ms, when the lock may be another's.
async function enter(name, who, expires) {
  const before = inside[name];
  assert.ok(before === null || before.expires() < Date.now(), `${who} is with ${before && before.who} in ${name}`);
  const mine = { who, expires };
  inside[name] = mine;
  await delay(3);
  if (inside[name] === mine) inside[name] = null;
}

async function contend(who) {
  const client = hush(new Redis({ host, port, retryStrategy: () => 100 }));
  const redlock = hush(new Redlock([client], { retryCount: 200, retryDelay: 20, retryJitter: 10, automaticExtensionThreshold: 1000 }));
  for (let n = 0; !state.isStopped; n++) {
    const name = n % 2 ? 'one' : 'two';
    const turn = `${who}-${n}`;
    try {
      if (n % 5 === 0) {
        await redlock.using([name], TTL_MS, async (signal) => {
          const begin = Date.now();
          await enter(name, turn, () => (signal.aborted ? 0 : begin + TTL_MS - 100));
        });
      } else {
        const lock = await redlock.acquire([name], TTL_MS);
        await enter(name, turn, () => lock.expiration);
        await lock.release();
      }
      note('done', turn);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      note('unsure', turn); // not in time, or given back by itself when its time was over
    }
  }
}

main(() => Promise.all([1, 2, 3, 4].map(contend)));
