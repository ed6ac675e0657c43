// apps: what the programs of applications share. A program says line by line what happens, `word id`, until it reads a line;
// then it ends its work, checks it, and exits with 0. Usage of every program: node <program>.js HOST PORT.
'use strict';
const fs = require('node:fs');
const assert = require('node:assert');

const [host, port] = [process.argv[2], Number(process.argv[3])];
const END_MS = 45000 * Number(process.env.TEST_SCALE || 1);

const state = { isStopped: false };
const stopped = new Promise((resolve) => {
  process.stdin.once('data', () => { state.isStopped = true; resolve(); });
});

const note = (word, id) => fs.writeSync(1, `${word} ${id}\n`);
const delay = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// Call `add` with the numbers from 0 on, each when the one before was taken or refused; what was taken is promised.
// A refused one is not tried again: whether it was taken nobody knows. Gives how many there were.
async function produce(add, gapMs = 10) {
  let n = 0;
  for (; !state.isStopped; n++) {
    try {
      const ids = await add(n);
      for (const id of [].concat(ids)) note('added', id);
    } catch (error) {
      note('unsure', n);
    }
    await delay(gapMs);
  }
  return n;
}

// Call `condition` until it is true; errors are those of a broker in trouble.
async function until(condition, what) {
  const end = Date.now() + END_MS;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last === true) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not in time: ${what}: ${last}`);
    await delay(50);
  }
}

// Run the program. Errors of connections in between are no end.
function main(program) {
  program().then(() => process.exit(0), (error) => {
    console.error('not ok -', error);
    process.exit(1);
  });
}

const hush = (emitter) => emitter.on('error', () => {});

module.exports = { assert, host, port, state, stopped, note, delay, produce, until, main, hush };
