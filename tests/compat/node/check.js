// check: what the client programs share. A program runs its checks in order, each named by a sentence; the first that
// fails ends it with status 1. Usage of every program: node <program>.js HOST PORT.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');

const [host, port] = [process.argv[2], Number(process.argv[3])];
// With CHECK_TLS_CA in the environment, the file of an authority, the clients speak TLS.
const ca = process.env.CHECK_TLS_CA ? fs.readFileSync(process.env.CHECK_TLS_CA) : undefined;
const DEADLINE_MS = 60000;

// Run the checks one after the other.
async function run(checks) {
  for (const [sentence, check] of Object.entries(checks)) {
    await within(check(), sentence);
    console.log(`ok - ${sentence}`);
  }
  process.exit(0);
}

// The promise, or a failure once the deadline has passed.
function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Call `condition` until it is true.
async function until(condition, what) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// The numbers 0 to n - 1 as strings.
const numbers = (n) => Array.from({ length: n }, (_, i) => String(i));

process.on('unhandledRejection', (error) => {
  console.error('not ok -', error);
  process.exit(1);
});

module.exports = { assert, ca, host, port, run, until, numbers };
