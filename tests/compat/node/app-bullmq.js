// BullMQ: jobs with delays, priorities, retries and children, a job that comes again and again, three workers.
'use strict';
const { assert, host, port, note, delay, produce, until, main, hush } = require('./apps');
const { Queue, Worker, QueueEvents, FlowProducer } = require('bullmq');

const connection = { host, port, maxRetriesPerRequest: null };
const seen = new Set(); // ids that events tell of
let ticks = 0;

async function work(job) {
  if (job.name === 'tick') {
    ticks++;
    return 0;
  }
  note('start', job.id);
  if (job.data.fails > job.attemptsMade) throw new Error('as it should');
  await delay(5);
  if (job.name === 'parent') {
    const answers = Object.values(await job.getChildrenValues()).sort();
    assert.deepStrictEqual(answers, [`${job.id}-a`, `${job.id}-b`]);
  }
  note('done', job.id);
  return job.id;
}

function worker() {
  const options = { connection, concurrency: 4, lockDuration: 4000, stalledInterval: 2000, maxStalledCount: 100 };
  const found = hush(new Worker('work', work, options));
  found.on('completed', (job) => { if (job.name !== 'tick') note('acked', job.id); });
  return found;
}

main(async () => {
  const queue = hush(new Queue('work', { connection }));
  const flows = hush(new FlowProducer({ connection }));
  const events = hush(new QueueEvents('work', { connection }));
  events.on('completed', ({ jobId, returnvalue }) => { if (returnvalue === jobId) seen.add(jobId); });
  await events.waitUntilReady();
  const workers = [worker(), worker(), worker()];
  await queue.upsertJobScheduler('tick', { every: 200 }, { name: 'tick', opts: { removeOnComplete: true } });
  const again = { attempts: 1000, backoff: { type: 'fixed', delay: 50 } };
  const added = new Set();
  await produce(async (n) => {
    const jobId = `j${n}`;
    const kinds = {
      1: () => queue.add('later', {}, { jobId, ...again, delay: 300 }),
      2: () => queue.add('first', {}, { jobId, ...again, priority: 1 + (n % 3) }),
      3: () => queue.add('fails', { fails: 1 }, { jobId, ...again }),
      4: () => flows.add({
        name: 'parent', queueName: 'work', data: {}, opts: { jobId, ...again },
        children: ['a', 'b'].map((child) => (
          { name: 'child', queueName: 'work', data: {}, opts: { jobId: `${jobId}-${child}`, ...again } })),
      }),
      5: () => queue.addBulk(['x', 'y'].map((one) => ({ name: 'bulk', data: {}, opts: { jobId: `${jobId}-${one}`, ...again } }))),
    };
    await (kinds[n % 10] || (() => queue.add('plain', {}, { jobId, ...again })))();
    const ids = { 4: [jobId, `${jobId}-a`, `${jobId}-b`], 5: [`${jobId}-x`, `${jobId}-y`] }[n % 10] || [jobId];
    ids.forEach((id) => added.add(id));
    return ids;
  });
  assert.ok(ticks > 2, `${ticks} ticks`);
  await queue.removeJobScheduler('tick');
  await until(async () => {
    const left = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'waiting-children');
    return Object.values(left).every((count) => count === 0) || JSON.stringify(left);
  }, 'all is done');
  const completed = new Map((await queue.getCompleted(0, -1)).map((job) => [job.id, job.returnvalue]));
  for (const id of added) assert.strictEqual(completed.get(id), id);
  assert.strictEqual(await queue.getFailedCount(), 0);
  await until(() => [...added].every((id) => seen.has(id)), 'all is told');
  await Promise.all(workers.map((one) => one.close()));
});
