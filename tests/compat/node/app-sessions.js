// express-session with connect-redis, on node-redis and on ioredis: visitors who go from one server to the other. What a
// visitor was told is remembered: the next answer is a higher number, never one that was told before.
'use strict';
const http = require('node:http');
const { assert, host, port, state, note, delay, main, hush } = require('./apps');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const Redis = require('ioredis');
const { createClient } = require('redis-v5');

async function serve(client) {
  const use = session({ store: new RedisStore({ client, ttl: 600 }), secret: 'none', resave: false, saveUninitialized: false });
  const server = http.createServer((request, response) => use(request, response, (error) => {
    if (error || !request.session) {
      response.writeHead(503).end();
      return;
    }
    request.session.visits = (request.session.visits || 0) + 1;
    const { visits } = request.session;
    request.session.save((failure) => response.writeHead(failure ? 503 : 200).end(String(visits)));
  }));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server.address().port;
}

async function visit(ports, who) {
  let cookie = '';
  let last = 0;
  let unsure = 0;
  for (let n = 0; !state.isStopped; n++) {
    const response = await fetch(`http://127.0.0.1:${ports[n % ports.length]}/`, { headers: { cookie } });
    if (response.status === 200) {
      const visits = Number(await response.text());
      if (cookie === '' || response.headers.get('set-cookie')) assert.strictEqual(last, 0, `${who} is not known any more`);
      cookie ||= response.headers.get('set-cookie').split(';')[0];
      assert.ok(visits > last && visits <= last + 1 + unsure, `${visits} after ${last}, ${unsure} unsure`);
      [last, unsure] = [visits, 0];
      note('done', `${who}-${n}`);
    } else {
      unsure++;
      note('unsure', `${who}-${n}`);
    }
    await delay(20);
  }
}

main(async () => {
  const client = hush(createClient({ url: `redis://${host}:${port}`, socket: { reconnectStrategy: () => 100 } }));
  await client.connect();
  const ports = [await serve(client), await serve(hush(new Redis({ host, port, retryStrategy: () => 100 })))];
  await Promise.all([1, 2, 3, 4, 5].map((who) => visit(ports, `v${who}`)));
});
