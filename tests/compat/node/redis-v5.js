// redis 5, in RESP2.
'use strict';
const { run } = require('./check');
const { checks } = require('./modern');

run(checks(require('redis-v5'), 'v5', { RESP: 2 }));
