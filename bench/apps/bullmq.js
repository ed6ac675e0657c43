// Jobs of BullMQ: added in bulks of 50, done by a worker of 32 at a time, both at once. Prints how many seconds that took.
'use strict';
const { Queue, Worker } = require('bullmq');

const connection = { host: '127.0.0.1', port: Number(process.env.BROKER_PORT), maxRetriesPerRequest: null };
const BULK = 50;

async function main() {
  const queue = new Queue('work', { connection });
  let left = 0;
  let onDone;
  const worker = new Worker('work', async () => 'done', { connection, concurrency: 32 });
  worker.on('completed', () => { if (--left === 0) onDone(); });
  const run = async (count) => {
    left = count;
    const done = new Promise((resolve) => { onDone = resolve; });
    for (let n = 0; n < count; n += BULK) {
      await queue.addBulk(Array.from({ length: BULK }, (_, i) => ({ name: 'job', data: { number: n + i } })));
    }
    await done;
  };
  await run(200);
  const begin = process.hrtime.bigint();
  await run(Number(process.env.JOBS));
  console.log(Number(process.hrtime.bigint() - begin) / 1e9);
  process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
