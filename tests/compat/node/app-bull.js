// Bull: jobs with delays, priorities and retries, two queues of workers.
'use strict';
const { assert, host, port, note, delay, produce, until, main, hush } = require('./apps');
const Queue = require('bull');

const settings = { lockDuration: 4000, lockRenewTime: 1500, stalledInterval: 2000, maxStalledCount: 100 };
const open = () => hush(new Queue('work', { redis: { host, port }, settings }));

function worker() {
  const queue = open();
  queue.process('*', 4, async (job) => {
    note('start', job.id);
    if (job.data.fails > job.attemptsMade) throw new Error('as it should');
    await delay(5);
    note('done', job.id);
    return job.id;
  });
  queue.on('completed', (job) => note('acked', job.id));
  return queue;
}

main(async () => {
  const queue = open();
  const workers = [worker(), worker()];
  const again = { attempts: 1000, backoff: { type: 'fixed', delay: 50 } };
  const added = new Set();
  await produce(async (n) => {
    const jobId = `j${n}`;
    const options = { 1: { delay: 300 }, 2: { priority: 1 + (n % 3) } }[n % 10] || {};
    await queue.add('plain', { fails: n % 10 === 3 ? 1 : 0 }, { jobId, ...again, ...options });
    added.add(jobId);
    return jobId;
  });
  await until(async () => {
    const { waiting, active, delayed } = await queue.getJobCounts();
    return waiting + active + delayed === 0 || `${waiting} ${active} ${delayed}`;
  }, 'all is done');
  const completed = new Map((await queue.getCompleted()).map((job) => [job.id, job.returnvalue]));
  for (const id of added) assert.strictEqual(completed.get(id), id);
  assert.strictEqual(await queue.getFailedCount(), 0);
  await Promise.all(workers.map((one) => one.close()));
});
