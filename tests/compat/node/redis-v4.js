// redis 4.
'use strict';
const { run } = require('./check');
const { checks } = require('./modern');

run(checks(require('redis-v4'), 'v4', {}));
