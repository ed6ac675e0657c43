// Bee-Queue: jobs with delays and retries, two workers that look for stalled jobs.
'use strict';
const { assert, host, port, note, delay, produce, until, main, hush } = require('./apps');
const Queue = require('bee-queue');

const open = (more) => hush(new Queue('work', {
  redis: { host, port, retry_strategy: () => 100 },
  stallInterval: 3000, activateDelayedJobs: true, nearTermWindow: 1000, delayedDebounce: 100, ...more,
}));

function worker() {
  const queue = open();
  const tried = new Set();
  queue.process(4, async (job) => {
    note('start', job.id);
    if (job.data.fails && !tried.has(job.id)) {
      tried.add(job.id);
      throw new Error('as it should');
    }
    await delay(5);
    note('done', job.id);
    return job.id;
  });
  queue.on('succeeded', (job) => note('acked', job.id));
  setInterval(() => queue.checkStalledJobs().catch(() => {}), 2000);
  return queue;
}

main(async () => {
  const queue = open({ isWorker: false });
  await queue.ready();
  const workers = [worker(), worker()];
  const added = new Set();
  await produce(async (n) => {
    const id = `j${n}`;
    const job = queue.createJob({ fails: n % 10 === 3 }).setId(id).retries(1000).backoff('fixed', 50);
    if (n % 10 === 1) job.delayUntil(Date.now() + 300);
    await job.save();
    added.add(id);
    return id;
  });
  await until(async () => {
    const { waiting, active, delayed } = await queue.checkHealth();
    return waiting + active + delayed === 0 || `${waiting} ${active} ${delayed}`;
  }, 'all is done');
  const { succeeded, failed } = await queue.checkHealth();
  assert.ok(succeeded >= added.size, `${succeeded} of ${added.size}`);
  assert.strictEqual(failed, 0);
});
