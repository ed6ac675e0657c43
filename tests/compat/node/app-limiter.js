// rate-limiter-flexible: limiters with connections of their own count together. More than the limit never pass; exactly so many
// if no connection broke meanwhile.
'use strict';
const { assert, host, port, state, note, delay, main, hush } = require('./apps');
const Redis = require('ioredis');
const { RateLimiterRedis } = require('rate-limiter-flexible');

const POINTS = 10;
let broken = 0;

main(async () => {
  const limiters = [1, 2, 3].map(() => {
    const storeClient = new Redis({ host, port, retryStrategy: () => 100 });
    storeClient.on('error', () => {});
    storeClient.on('close', () => { broken++; });
    return new RateLimiterRedis({ storeClient, points: POINTS, duration: 60, keyPrefix: 'limit' });
  });
  for (let n = 0; !state.isStopped; n++) {
    const brokenBefore = broken;
    const answers = await Promise.all(Array.from({ length: 2 * POINTS }, (_, i) => limiters[i % 3].consume(`user${n}`).then(
      () => 'passed', (refusal) => (refusal instanceof Error ? 'error' : 'refused'))));
    const passed = answers.filter((answer) => answer === 'passed').length;
    assert.ok(passed <= POINTS, `${passed} passed`);
    if (broken === brokenBefore && !answers.includes('error')) assert.strictEqual(passed, POINTS);
    note('done', n);
    await delay(5);
  }
});
