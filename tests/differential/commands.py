"""commands: random data commands, family by family, options and mistakes included.

A generator draws from a small world of keys and words, so that commands meet each other's keys, also with the wrong
type. What may differ between two right servers is told by the command's name in `UNORDERED` and its kin.
"""

KEYS = [b"k%d" % i for i in range(5)] + [b""]
FIELDS = [b"f%d" % i for i in range(8)] + [b"x" * 70, b"n" * 600, b""]
VALUES = [b"", b"0", b"1", b"10", b"-5", b"3.5", b"abc", b"hello world", b"12345678901234567890", b"v" * 50,
          b"w" * 1200, b"z" * 9000, b"\x00\xff\x80bin"]
INTS = [b"0", b"1", b"-1", b"2", b"-2", b"3", b"5", b"100", b"-100", b"9223372036854775807", b"-9223372036854775808",
        b"abc", b"1.5", b""]
FLOATS = [b"0", b"1", b"-1", b"0.5", b"2.25", b"-3.5", b"1e3", b"inf", b"-inf", b"nan", b"abc", b"10.25"]

# Chance decides the elements: their number is compared, and that they are some of the key's is for other tests.
BY_CHANCE = {b"SPOP", b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"}
# Maps with fields that only one of the two has, or that a clock decides.
LOOSE_FIELDS = {b"radix-tree-keys", b"radix-tree-nodes", b"idle", b"inactive", b"seen-time", b"active-time"}
# Replies whose elements come in any order.
UNORDERED = {b"SMEMBERS", b"SUNION", b"SINTER", b"SDIFF", b"HKEYS", b"HVALS", b"KEYS"}
# In any order, unless one is asked for.
AROUND = {b"GEOSEARCH", b"GEORADIUS", b"GEORADIUS_RO", b"GEORADIUSBYMEMBER", b"GEORADIUSBYMEMBER_RO"}
PAIRS = {b"HGETALL"}

CALLER = b"""
local out, at = {}, 1
while at <= #ARGV do
    local count = tonumber(ARGV[at])
    out[#out + 1] = redis.pcall(unpack(ARGV, at + 1, at + count))
    at = at + count + 1
end
return out"""
"""Calls the commands that it is given, each behind the number of its words, and tells all answers."""

PURE = [b"""return %s""" % text for text in (
    b"ARGV[1] + ARGV[2]", b"tostring(ARGV[1] / ARGV[2])", b"tostring(ARGV[1] * 1.1)", b"ARGV[1] .. ARGV[2]",
    b"tonumber(ARGV[1])", b"tostring(tonumber(ARGV[1]))", b"{ARGV[1], tonumber(ARGV[2]), true, false, ARGV[1]}",
    b"#ARGV[1]", b"string.format('%5.2f|%s|%d|%q', ARGV[1], ARGV[2], ARGV[1], ARGV[2])", b"string.rep(ARGV[1], 3)",
    b"{string.find(ARGV[1], ARGV[2])}", b"{string.match(ARGV[1], '(.-)(%d*)$')}", b"{string.gsub(ARGV[1], '%w', '<%0>')}",
    b"string.upper(ARGV[1]) .. string.reverse(ARGV[2])", b"string.sub(ARGV[1], 2, -2)", b"{string.byte(ARGV[1], 1, 4)}",
    b"cjson.encode({ARGV[1], tonumber(ARGV[2]), {a = ARGV[1]}, {}, cjson.null})", b"cjson.encode({1.5, 1e20, 0.1, -3, 1e14, 1/3})",
    b"cjson.encode(cjson.decode(ARGV[1]))", b"cjson.decode('[' .. ARGV[1] .. ']')[1]", b"cjson.encode({[1] = 1, [1000] = 2})",
    b"cjson.encode({[tonumber(ARGV[1])] = 1})", b"cjson.encode({[1.5] = 1})", b"cjson.decode(ARGV[2])",
    b"bit.band(ARGV[1], ARGV[2])", b"bit.tohex(ARGV[1], 4)", b"{bit.bnot(7), bit.lshift(1, ARGV[1]), bit.arshift(-8, 1)}",
    b"math.floor(ARGV[1])", b"tostring(math.fmod(ARGV[1], 7))", b"tostring(math.huge)", b"tostring(-math.huge)", b"0/0 ~= 0/0",
    b"{map = {a = ARGV[1]}}", b"{double = tonumber(ARGV[1])}", b"{set = {a = true}}", b"{big_number = '-12345678901234567890'}",
    b"{verbatim_string = {format = 'txt', string = ARGV[1]}}", b"{err = ARGV[1]}", b"{ok = ARGV[1]}",
    b"redis.error_reply(ARGV[1])", b"redis.status_reply(ARGV[1])", b"redis.sha1hex(ARGV[1])", b"error(ARGV[1])",
    b"error({err = ARGV[1]})", b"{pcall(error, ARGV[1])}", b"{pcall(redis.call, 'nosuch')}", b"redis.call(ARGV[1])",
    b"redis.call('set', KEYS[1])", b"redis.pcall('get')", b"redis.call('get', {})", b"nosuch", b"{unpack({1, 2, 3}, 2)}",
    b"table.concat({1, ARGV[1], 2.5}, ',')", b"select('#', unpack(ARGV))", b"type(redis.call('get', KEYS[1]))", b"-ARGV[1]",
    b"{1, 2, nil, 4}", b"{{1, {2, {}}}, 'x'}", b"3.99", b"-3.99", b"2^53", b"2^53 * 1000", b"1e100", b"KEYS", b"nil", b"",
    b"1 +", b"(", b"loadstring('return ' .. ARGV[1])()", b"{xpcall(function() return nosuch end, function(e) return e end)}",
    b"tostring(string.dump == nil)", b"{tostring(nil), tostring(true)}", b"ARGV[1] == ARGV[2]", b"ARGV[1] < ARGV[2]",
    b"redis.setresp(ARGV[1])", b"{redis.call('set', KEYS[1], ARGV[1]), redis.call('get', KEYS[1])}",
    b"redis.call('echo', ARGV[1])", b"redis.call('ping')", b"redis.call('select', ARGV[1])", b"redis.call('multi')",
    b"redis.log(redis.LOG_DEBUG, 'x')", b"redis.replicate_commands()", b"redis.set_repl(redis.REPL_ALL)",
    b"redis.acl_check_cmd('set', 'x', 'y')", b"redis.acl_check_cmd('nosuch')", b"rawequal(ARGV, ARGV)", b"next({})",
    b"(function(...) return select(2, ...) end)(1, ARGV[1])", b"coroutine.wrap(function() coroutine.yield(ARGV[1]) end)()")]
PURE += [b"""x = 1""", b"""string.sub = 1""", b"""local t = {} for k, v in pairs({a = 1, b = 2, c = 3}) do t[#t + 1] = k end
table.sort(t) return t""", b"""redis.setresp(3) return redis.call('hgetall', KEYS[1])""", b"""redis.setresp(3) return true""",
         b"""redis.setresp(3) return redis.call('zscore', KEYS[1], ARGV[1])""",
         b"""redis.call('set', KEYS[1], ARGV[1]) error('late')""", b"""#!lua flags=no-writes
return redis.call('set', KEYS[1], 1)""", b"""#!lua flags=nosuch
return 1""", b"""#!lua
return ARGV[1]"""]
# Scans of small collections: a cursor of 0 and the elements in any order.
SCANS = {b"SSCAN": 1, b"HSCAN": 2, b"ZSCAN": 2, b"SCAN": 1}


class World:
    """Draws commands with one random generator."""

    def __init__(self, random):
        self.random = random
        self.size = 0
        self.families = [self.string, self.string, self.bits, self.keys, self.list, self.list, self.hash, self.set,
                         self.zset, self.zset, self.zrange, self.stream, self.group,
                         self.large, self.geo, self.counters, self.script]

    def pick(self, choices):
        return self.random.choice(choices)

    def key(self):
        return self.pick(KEYS)

    def many(self, draw, low=1, high=4):
        return [draw() for _ in range(self.random.randint(low, high))]

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def maybe(self, percent, *words):
        return list(words) if self.chance(percent) else []

    def int(self):
        return self.pick(INTS) if self.chance(30) else b"%d" % self.random.randint(-6, 12)

    def float(self):
        return self.pick(FLOATS) if self.chance(30) else b"%g" % (self.random.randint(-20, 40) / 4)

    def value(self):
        return self.pick(VALUES)

    def field(self):
        return self.pick(FIELDS)

    def command(self):
        return self.pick(self.families)()

    def string(self):
        k, v, i = self.key, self.value, self.int
        return self.pick([
            lambda: [b"SET", k(), v()] + self.maybe(20, self.pick([b"NX", b"XX"])) + self.maybe(20, b"GET") +
            self.maybe(10, b"KEEPTTL") + self.maybe(15, b"EX", self.pick([b"100", b"0", b"-1", b"x"])),
            lambda: [b"GET", k()],
            lambda: [b"GETSET", k(), v()],
            lambda: [b"GETDEL", k()],
            lambda: [b"GETEX", k()] + self.maybe(50, self.pick([b"PERSIST", b"FOO"])) + self.maybe(30, b"EX", i()),
            lambda: [b"SETNX", k(), v()],
            lambda: [b"SETEX", k(), self.pick([b"100", b"0", b"-3", b"q"]), v()],
            lambda: [b"PSETEX", k(), b"100000", v()],
            lambda: [b"MGET"] + self.many(k),
            lambda: [b"MSET"] + [x for _ in range(self.random.randint(1, 3)) for x in (k(), v())] +
            self.maybe(5, k()),
            lambda: [b"MSETNX", k(), v(), k(), v()],
            lambda: [b"APPEND", k(), v()],
            lambda: [b"STRLEN", k()],
            lambda: [b"GETRANGE", k(), i(), i()],
            lambda: [b"SETRANGE", k(), self.pick([b"0", b"3", b"-1", b"1500", b"x", b"600000000"]), v()],
            lambda: [self.pick([b"INCR", b"DECR"]), k()],
            lambda: [self.pick([b"INCRBY", b"DECRBY"]), k(), i()],
            lambda: [b"INCRBYFLOAT", k(), self.float()],
            lambda: [b"LCS", k(), k()] + self.maybe(30, b"LEN") + self.maybe(50, b"IDX") +
            self.maybe(30, b"MINMATCHLEN", i()) + self.maybe(30, b"WITHMATCHLEN") + self.maybe(3, b"FOO"),
        ])()

    def bits(self):
        k, i = self.key, self.int
        offset = lambda: self.pick([b"0", b"1", b"7", b"8", b"100", b"12000", b"-1", b"x"])
        unit = lambda: self.maybe(40, self.pick([b"BIT", b"BYTE", b"FOO"]))
        width = lambda: self.pick([b"u8", b"i8", b"i5", b"u1", b"u63", b"i64", b"u64", b"x9", b"i16"])
        place = lambda: self.pick([b"0", b"#1", b"3", b"100", b"-1", b"#x"])
        operation = lambda: self.pick([[b"GET", width(), place()], [b"SET", width(), place(), i()],
                                       [b"INCRBY", width(), place(), i()],
                                       [b"OVERFLOW", self.pick([b"WRAP", b"SAT", b"FAIL", b"NO"])]])
        return self.pick([
            lambda: [b"SETBIT", k(), offset(), self.pick([b"0", b"1", b"1", b"2"])],
            lambda: [b"GETBIT", k(), offset()],
            lambda: [b"BITCOUNT", k()] + self.maybe(60, i(), i(), *unit()),
            lambda: [b"BITPOS", k(), self.pick([b"0", b"1", b"2"])] + self.maybe(60, i(), *self.maybe(60, i(), *unit())),
            lambda: [b"BITOP", self.pick([b"AND", b"OR", b"XOR", b"NOT", b"NAND"]), k()] + self.many(k, 1, 3),
            lambda: [b"BITFIELD", k()] + sum(self.many(operation, 1, 3), []),
            lambda: [b"BITFIELD_RO", k()] + operation(),
        ])()

    def keys(self):
        k = self.key
        ttl = lambda: self.pick([b"100", b"1000", b"50", b"-1", b"0", b"x", b"9223372036854775807"])
        flags = lambda: self.maybe(30, self.pick([b"NX", b"XX", b"GT", b"LT", b"FOO"])) + self.maybe(10, b"GT")
        return self.pick([
            lambda: [self.pick([b"DEL", b"UNLINK", b"EXISTS", b"TOUCH"])] + self.many(k),
            lambda: [b"TYPE", k()],
            lambda: [b"EXPIRE", k(), ttl()] + flags(),
            lambda: [b"PEXPIRE", k(), self.pick([b"100000", b"-1", b"x"])] + flags(),
            lambda: [b"EXPIREAT", k(), self.pick([b"4000000000", b"1", b"x"])] + flags(),
            lambda: [b"PEXPIREAT", k(), self.pick([b"4000000000000", b"1", b"x"])] + flags(),
            lambda: [b"TTL", k()],
            lambda: [self.pick([b"EXPIRETIME", b"PEXPIRETIME"]), k()] if self.chance(0) else [b"TTL", k()],
            lambda: [b"PERSIST", k()],
            lambda: [self.pick([b"RENAME", b"RENAMENX"]), k(), k()],
            lambda: [b"COPY", k(), k()] + self.maybe(40, b"REPLACE") + self.maybe(20, b"DB", self.pick([b"1", b"99"])),
            lambda: [b"MOVE", k(), self.pick([b"1", b"0", b"99", b"x"])],
            lambda: [b"KEYS", self.pick([b"*", b"k[1-3]", b"none"])],
            lambda: [b"SCAN", self.pick([b"0", b"x"])] + self.maybe(30, b"MATCH", b"k*") +
            [b"COUNT", b"1000"] + self.maybe(30, b"TYPE", self.pick([b"list", b"hash", b"foo"])),
            lambda: [b"DBSIZE"],
            lambda: [b"SWAPDB", self.pick([b"0", b"1", b"x", b"99"]), b"1"],
            lambda: [b"SORT", k()] + self.maybe(40, b"ALPHA") + self.maybe(30, b"DESC") +
            self.maybe(30, b"LIMIT", self.int(), self.int()) + self.maybe(15, b"BY", b"nosort") +
            self.maybe(15, b"GET", b"#") + self.maybe(10, b"STORE", k()),
        ] + ([lambda: [self.pick([b"FLUSHDB", b"FLUSHALL"])]] if self.chance(3) else []))()

    def list(self):
        k, v, i = self.key, self.value, self.int
        end = lambda: self.pick([b"LEFT", b"RIGHT", b"LEFT", b"RIGHT", b"UP"])
        return self.pick([
            lambda: [self.pick([b"LPUSH", b"RPUSH"]), k()] + self.many(v),
            lambda: [self.pick([b"LPUSHX", b"RPUSHX"]), k(), v()],
            lambda: [self.pick([b"LPOP", b"RPOP"]), k()] + self.maybe(40, i()),
            lambda: [b"LLEN", k()],
            lambda: [b"LINDEX", k(), i()],
            lambda: [b"LRANGE", k(), i(), i()],
            lambda: [b"LSET", k(), i(), v()],
            lambda: [b"LREM", k(), i(), v()],
            lambda: [b"LTRIM", k(), i(), i()],
            lambda: [b"LINSERT", k(), self.pick([b"BEFORE", b"AFTER", b"ON"]), v(), v()],
            lambda: [b"LPOS", k(), v()] + self.maybe(40, b"RANK", i()) + self.maybe(40, b"COUNT", i()) +
            self.maybe(20, b"MAXLEN", i()),
            lambda: [b"LMOVE", k(), k(), end(), end()],
            lambda: [b"RPOPLPUSH", k(), k()],
            lambda: [b"LMPOP", self.pick([b"1", b"2", b"0", b"x"]), k(), k(), end()] + self.maybe(40, b"COUNT", i()),
        ])()

    def hash(self):
        k, f, v = self.key, self.field, self.value
        return self.pick([
            lambda: [self.pick([b"HSET", b"HMSET"]), k()] + sum(self.many(lambda: [f(), v()], 1, 3), []) +
            self.maybe(5, f()),
            lambda: [b"HSETNX", k(), f(), v()],
            lambda: [b"HGET", k(), f()],
            lambda: [b"HMGET", k()] + self.many(f),
            lambda: [self.pick([b"HGETALL", b"HKEYS", b"HVALS", b"HLEN"]), k()],
            lambda: [self.pick([b"HEXISTS", b"HSTRLEN"]), k(), f()],
            lambda: [b"HDEL", k()] + self.many(f),
            lambda: [b"HINCRBY", k(), f(), self.int()],
            lambda: [b"HINCRBYFLOAT", k(), f(), self.float()],
            lambda: [b"HRANDFIELD", k()] + self.maybe(70, self.int(), *self.maybe(40, b"WITHVALUES")),
            lambda: [b"HSCAN", k(), b"0"] + self.maybe(30, b"MATCH", self.pick([b"f[0-4]", b"*"])) + self.maybe(10, b"COUNT", self.pick([b"0", b"-1", b"x", b"1000"])),
        ])()

    def set(self):
        k = self.key
        m = lambda: self.pick([b"1", b"2", b"3", b"-7", b"a", b"b", b"c", b"y" * 80, b"n" * 600])
        return self.pick([
            lambda: [b"SADD", k()] + self.many(m),
            lambda: [b"SREM", k()] + self.many(m),
            lambda: [b"SISMEMBER", k(), m()],
            lambda: [b"SMISMEMBER", k()] + self.many(m),
            lambda: [self.pick([b"SCARD", b"SMEMBERS"]), k()],
            lambda: [b"SMOVE", k(), k(), m()],
            lambda: [self.pick([b"SUNION", b"SINTER", b"SDIFF"])] + self.many(k),
            lambda: [self.pick([b"SUNIONSTORE", b"SINTERSTORE", b"SDIFFSTORE"]), k()] + self.many(k),
            lambda: [b"SINTERCARD", self.pick([b"1", b"2", b"0", b"x", b"9"]), k(), k()] +
            self.maybe(40, b"LIMIT", self.int()),
            lambda: [b"SRANDMEMBER", k()] + self.maybe(70, self.int()),
            lambda: [b"SPOP", k(), b"100"] + self.maybe(5, b"x"),
            lambda: [b"SSCAN", k(), b"0"] + self.maybe(30, b"MATCH", b"[a1]*"),
        ])()

    def member(self):
        return self.pick([b"a", b"b", b"c", b"d", b"e", b"f", b"m" * 70, b"n" * 500])

    def zset(self):
        k, m = self.key, self.member
        numkeys = lambda: self.pick([b"1", b"2", b"2", b"0", b"x", b"9"])
        aggregate = lambda: self.maybe(30, b"WEIGHTS", self.float(), self.float()) + \
            self.maybe(30, b"AGGREGATE", self.pick([b"SUM", b"MIN", b"MAX", b"AVG"]))
        return self.pick([
            lambda: [b"ZADD", k()] + self.maybe(25, self.pick([b"NX", b"XX"])) +
            self.maybe(25, self.pick([b"GT", b"LT"])) + self.maybe(30, b"CH") + self.maybe(15, b"INCR") +
            sum(self.many(lambda: [self.float(), m()], 1, 3), []),
            lambda: [b"ZADD", k()] + sum(self.many(lambda: [b"%d" % self.random.randint(0, 5), m()], 2, 4), []),
            lambda: [b"ZINCRBY", k(), self.float(), m()],
            lambda: [b"ZREM", k()] + self.many(m),
            lambda: [b"ZSCORE", k(), m()],
            lambda: [b"ZMSCORE", k()] + self.many(m),
            lambda: [b"ZCARD", k()],
            lambda: [self.pick([b"ZRANK", b"ZREVRANK"]), k(), m()],
            lambda: [self.pick([b"ZPOPMIN", b"ZPOPMAX"]), k()] + self.maybe(40, self.int()),
            lambda: [b"ZMPOP", numkeys(), k(), k(), self.pick([b"MIN", b"MAX", b"MID"])] +
            self.maybe(40, b"COUNT", self.int()),
            lambda: [self.pick([b"ZUNION", b"ZINTER"]), numkeys(), k(), k()] + aggregate() +
            self.maybe(50, b"WITHSCORES"),
            lambda: [b"ZDIFF", numkeys(), k(), k()] + self.maybe(50, b"WITHSCORES"),
            lambda: [self.pick([b"ZUNIONSTORE", b"ZINTERSTORE"]), k(), numkeys(), k(), k()] + aggregate(),
            lambda: [b"ZDIFFSTORE", k(), numkeys(), k(), k()],
            lambda: [b"ZINTERCARD", numkeys(), k(), k()] + self.maybe(40, b"LIMIT", self.int()),
            lambda: [b"ZRANDMEMBER", k()] + self.maybe(70, self.int(), *self.maybe(40, b"WITHSCORES")),
            lambda: [b"ZSCAN", k(), b"0"] + self.maybe(30, b"MATCH", b"[a-c]"),
        ])()

    def zrange(self):
        k, i = self.key, self.int
        score = lambda: self.pick([b"", b"(", b""]) + self.float()
        lex = lambda: self.pick([b"-", b"+", b"[a", b"(b", b"[c", b"(e", b"d", b"["])
        limit = lambda: self.maybe(30, b"LIMIT", i(), i())
        scores = lambda: self.maybe(50, b"WITHSCORES")
        store = self.pick([b"ZRANGE", b"ZRANGE", b"ZRANGESTORE"])
        head = [store, k(), k()] if store == b"ZRANGESTORE" else [store, k()]
        return self.pick([
            lambda: head + [i(), i()] + self.maybe(30, b"REV") + scores(),
            lambda: head + [score(), score(), b"BYSCORE"] + self.maybe(30, b"REV") + limit() + scores(),
            lambda: [self.pick([b"ZREVRANGE"]), k(), i(), i()] + scores(),
            lambda: [self.pick([b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE"]), k(), score(), score()] + scores() + limit(),
            lambda: [b"ZCOUNT", k(), score(), score()],
            lambda: [b"ZREMRANGEBYRANK", k(), i(), i()],
            lambda: [b"ZREMRANGEBYSCORE", k(), score(), score()],
            lambda: self.lex_command(lex, limit),
        ])()

    def place(self):
        """A longitude and a latitude, now and then outside the map."""
        if self.chance(10):
            return [self.pick([b"181", b"-180", b"x", b"179.5"]), self.pick([b"86", b"-85.05112878", b"nan", b"0"])]
        spread = self.pick([0.01, 1, 30, 180])
        lon, lat = self.pick([(13.4, 52.5), (179.9, 10), (-179.95, -70), (0, 0)])
        return [b"%.6f" % max(-180, min(179.9, lon + self.random.uniform(-spread, spread))),
                b"%.6f" % max(-85, min(85, lat + self.random.uniform(-spread, spread) / 2))]

    def geo(self):
        """On keys of their own for the most part: places, and what lies around."""
        k = lambda: self.pick([b"geo1", b"geo2", b"geo3", self.key()])
        m = lambda: b"m%d" % self.random.randint(0, 40 if self.size < 400 else 2000)
        # Around a whole continent and more Redis 7 overlooks some.
        unit = lambda: self.pick([b"m", b"km", b"FT", b"mi"]) if self.chance(97) else b"yd"
        length = lambda: self.pick([b"0", b"-1", b"x"]) if self.chance(5) else b"%.3f" % (10 ** self.random.uniform(0, 3))
        flags = lambda: self.maybe(30, b"WITHCOORD") + self.maybe(30, b"WITHDIST") + self.maybe(30, b"WITHHASH") + \
            self.maybe(40, self.pick([b"ASC", b"DESC"])) + self.maybe(25, b"COUNT", self.int()) + self.maybe(3, b"ANY")
        start = lambda: self.pick([[b"FROMMEMBER", m()], [b"FROMLONLAT"] + self.place()]) if self.chance(96) else []
        shape = lambda: self.pick([[b"BYRADIUS", length(), unit()], [b"BYBOX", length(), length(), unit()]]) \
            if self.chance(96) else []
        store = lambda: self.maybe(30, self.pick([b"STORE", b"STOREDIST"]), self.pick([b"near", k()]))
        return self.pick([
            lambda: [b"GEOADD", k()] + self.maybe(20, self.pick([b"NX", b"XX"])) + self.maybe(20, b"CH") +
            sum(self.many(lambda: self.place() + [m()], 1, 6), []) + self.maybe(3, b"odd"),
            lambda: [b"GEOADD", b"geo1"] + sum(self.many(lambda: self.place() + [m()], 10, 30), []),
            lambda: [b"GEODIST", k(), m(), m()] + self.maybe(50, unit()),
            lambda: [b"GEOHASH", k()] + self.many(m, 0, 3),
            lambda: [b"GEOPOS", k()] + self.many(m, 0, 3),
            lambda: [b"GEOSEARCH", k()] + start() + shape() + flags() + self.maybe(3, b"STOREDIST"),
            lambda: [b"GEOSEARCHSTORE", self.pick([b"near", k()]), k()] + start() + shape() + flags()[:2] +
            self.maybe(30, b"STOREDIST"),
            lambda: [b"GEORADIUS", k()] + self.place() + [length(), unit()] + flags() + store(),
            lambda: [b"GEORADIUSBYMEMBER", k(), m(), length(), unit()] + flags() + store(),
            lambda: [b"GEORADIUS_RO", k()] + self.place() + [length(), unit()] + flags() + store()[:1],
            lambda: [b"GEORADIUSBYMEMBER_RO", k(), m(), length(), unit()] + flags(),
            lambda: [b"ZRANGE", self.pick([b"near", k()]), b"0", b"-1", b"WITHSCORES"],
        ])()

    def counters(self):
        """HyperLogLogs of few and of many elements, and what is none."""
        # Written under keys of their own only: Redis leaves a count in them, which commands on bits and texts would see.
        own = lambda: self.pick([b"hll1", b"hll2", b"hll3", b"hll4"])
        k = lambda: self.pick([own(), own(), self.key()])
        e = lambda: self.pick([b"", b"a", b"%d" % self.random.randint(0, 100000)])
        broken = lambda: self.pick([b"HYLL", b"HYLL\x01" + bytes(11), b"HYLL\x01" + bytes(10) + b"\x80\x80\x84",
                                    b"HYLL\x02" + bytes(11) + b"\x7f\xff",
                                    b"HYLL\x00" + bytes(12299), b"HYLL\x00" + bytes(100)])
        return self.pick([
            lambda: [b"PFADD", own()] + self.many(e, 0, 5),
            lambda: [b"PFADD", own()] + self.many(e, 50, 400),
            lambda: [b"PFCOUNT"] + self.many(k, 1, 3),
            lambda: [b"PFMERGE", own()] + self.many(k, 0, 3),
            lambda: [b"PFDEBUG", self.pick([b"ENCODING", b"TODENSE", b"FOO"]), k()],
            lambda: [b"PFDEBUG", self.pick([b"GETREG", b"DECODE"]), self.pick([b"hll1", b"hll2"])]
            if self.chance(10) else [b"PFCOUNT", k()],
            lambda: [b"GET", k()],
            lambda: [b"LPUSH", own(), b"x"] if self.chance(20) else [b"DEL", k()],
            lambda: [b"SET", self.pick([b"hll3", b"hll4"]), broken()] if self.chance(30) else [b"DEL", k()],
        ])()

    def large(self):
        """Collections past every threshold: ladders, chunks, blocks."""
        number = self.random.randint(0, 4000)
        some = lambda: b"e%d" % self.random.randint(0, 4000)
        place = lambda: b"%d" % self.random.randint(-4200, 4200)
        self.size += 40
        return self.pick([
            lambda: [b"RPUSH", b"list"] + [b"e%d" % (self.size + i) for i in range(40)],
            lambda: [b"ZADD", b"zset"] + sum(([b"%d" % (i * number % 997), some()] for i in range(40)), []),
            lambda: [b"XADD", b"stream", b"%d-1" % self.size, b"field", some()],
            lambda: [b"HSET", b"hash"] + sum(([some(), some()] for _ in range(40)), []),
            lambda: [b"SADD", b"set"] + [some() for _ in range(40)],
            lambda: [b"LINDEX", b"list", place()],
            lambda: [b"LRANGE", b"list", place(), b"%d" % (number - 2000)],
            lambda: [b"LSET", b"list", place(), some()],
            lambda: [b"LINSERT", b"list", b"BEFORE", some(), some()],
            lambda: [b"LREM", b"list", self.int(), some()],
            lambda: [b"LPOP", b"list", b"20"],
            lambda: [b"ZRANK", b"zset", some()],
            lambda: [b"ZRANGE", b"zset", place(), place(), b"WITHSCORES"],
            lambda: [b"ZRANGEBYSCORE", b"zset", b"%d" % (number % 900), b"(%d" % (number % 997), b"LIMIT", b"3", b"9"],
            lambda: [b"ZCOUNT", b"zset", b"(%d" % (number % 500), b"%d" % (number % 997)],
            lambda: [b"ZREMRANGEBYRANK", b"zset", b"%d" % number, b"%d" % (number + 15)],
            lambda: [b"ZPOPMIN", b"zset", b"20"],
            lambda: [b"XRANGE", b"stream", b"%d" % number, b"+", b"COUNT", b"30"],
            lambda: [b"XDEL", b"stream", b"%d-1" % (number // 40 * 40)],
            lambda: [b"HGET", b"hash", some()],
            lambda: [b"SDIFF", b"set", b"other"],
            lambda: [b"SISMEMBER", b"set", some()],
        ])()

    def lex_command(self, lex, limit):
        """By name, on a key whose members all score 0: elsewhere the order is nobody's promise."""
        k = b"lex"
        return self.pick([
            lambda: [b"ZADD", k] + sum(self.many(lambda: [b"0", self.member()], 1, 3), []),
            lambda: [self.pick([b"ZRANGEBYLEX", b"ZREVRANGEBYLEX"]), k, lex(), lex()] + limit(),
            lambda: [b"ZRANGE", k, lex(), lex(), b"BYLEX"] + self.maybe(30, b"REV") + limit(),
            lambda: [b"ZLEXCOUNT", k, lex(), lex()],
            lambda: [b"ZREMRANGEBYLEX", k, lex(), lex()],
        ])()

    def id(self):
        return self.pick([b"%d-%d" % (self.random.randint(0, 40), self.random.randint(0, 3)),
                          b"%d" % self.random.randint(0, 40)])

    def stream(self):
        k = self.key
        bound = lambda: self.pick([b"-", b"+", self.id(), b"(" + self.id(), b"x"])
        trim = lambda: self.maybe(30, self.pick([b"MAXLEN"]), *self.maybe(30, b"="), self.int()) + \
            self.maybe(15, b"MINID", self.id()) + self.maybe(5, b"LIMIT", b"3")
        fields = lambda: sum(self.many(lambda: [self.field(), self.value()], 1, 3), []) + self.maybe(4, b"odd")
        return self.pick([
            lambda: [b"XADD", k()] + self.maybe(20, b"NOMKSTREAM") + trim() +
            [self.pick([self.id(), b"%d-*" % self.random.randint(0, 40), b"0-0", b"x-1"])] + fields(),
            lambda: [b"XADD", k(), b"%d-%d" % (self.random.randint(30, 60), self.random.randint(0, 9))] + fields(),
            lambda: [b"XLEN", k()],
            lambda: [self.pick([b"XRANGE", b"XREVRANGE"]), k(), bound(), bound()] + self.maybe(40, b"COUNT", self.int()),
            lambda: [b"XDEL", k()] + self.many(self.id),
            lambda: [b"XTRIM", k()] + trim(),
            lambda: [b"XREAD"] + self.maybe(30, b"COUNT", self.int()) + [b"STREAMS", k(), k(), self.id(),
                                                                        self.pick([self.id(), b"$", b">"])],
            lambda: [b"XSETID", k(), self.id()] + self.maybe(30, b"ENTRIESADDED", self.int()) +
            self.maybe(20, b"MAXDELETEDID", self.id()),
        ])()

    def group(self):
        k = self.key
        g = lambda: self.pick([b"g1", b"g2"])
        c = lambda: self.pick([b"c1", b"c2", b"c3"])
        return self.pick([
            lambda: [b"XGROUP", b"CREATE", k(), g(), self.pick([b"$", b"0", self.id()])] + self.maybe(50, b"MKSTREAM") +
            self.maybe(20, b"ENTRIESREAD", self.int()),
            lambda: [b"XGROUP", b"SETID", k(), g(), self.pick([b"$", b"0", self.id()])] +
            self.maybe(20, b"ENTRIESREAD", self.int()),
            lambda: [b"XGROUP", b"DESTROY", k(), g()] if self.chance(20) else [b"XGROUP", b"FOO", k(), g()],
            lambda: [b"XGROUP", self.pick([b"CREATECONSUMER", b"DELCONSUMER"]), k(), g(), c()],
            lambda: [b"XREADGROUP", b"GROUP", g(), c()] + self.maybe(40, b"COUNT", self.int()) + self.maybe(15, b"NOACK") +
            [b"STREAMS", k(), self.pick([b">", b">", b">", b"0", self.id(), b"$"])],
            lambda: [b"XACK", k(), g()] + self.many(self.id),
            lambda: [b"XPENDING", k(), g()],
            lambda: [b"XPENDING", k(), g()] + self.maybe(30, b"IDLE", b"0") +
            [self.pick([b"-", self.id(), b"(" + self.id()]), self.pick([b"+", self.id()]), self.int()] +
            self.maybe(40, c()),
            lambda: [b"XINFO", self.pick([b"STREAM", b"GROUPS", b"FOO"]), k()],
            lambda: [b"XINFO", b"CONSUMERS", k(), g()],
            lambda: [b"XCLAIM", k(), g(), c(), self.pick([b"0", b"1000000"])] + self.many(self.id) +
            self.maybe(30, b"JUSTID") + self.maybe(20, b"FORCE") + self.maybe(20, b"RETRYCOUNT", b"3"),
            lambda: [b"XAUTOCLAIM", k(), g(), c(), b"0", self.pick([b"0", b"-", self.id()])] +
            self.maybe(40, b"COUNT", self.int()) + self.maybe(30, b"JUSTID"),
        ])()

    def script(self):
        """Of what it answers to several commands the order is told as for each of them: comparable."""
        if self.chance(50):
            return [self.pick([b"EVAL", b"EVAL", b"EVAL_RO"]), self.pick(PURE), b"1", self.key(), self.value(),
                    self.pick([self.value(), self.int(), self.float()])]
        words = []
        name = self.pick([b"EVAL", b"EVAL", b"EVAL_RO"])
        for _ in range(self.random.randint(1, 5)):
            command = self.script_call(name == b"EVAL_RO")
            words += [b"%d" % len(command)] + command
        return [name, CALLER, b"0"] + words

    def script_call(self, is_read_only):
        """A command that a script may call; not one that the family of scripts makes. PFCOUNT writes in Redis, XGROUP here."""
        barred = [self.script] + ([self.counters, self.group] if is_read_only else [])
        return self.pick([f for f in self.families if f not in barred])()


def calls_of(command):
    """The commands that a CALLER is to call; none that can be told if it was given something else."""
    at, calls = 3, []
    while at < len(command):
        if not command[at].isdigit() or command[2] != b"0":
            return []
        calls.append(command[at + 1:at + 1 + int(command[at])])
        at += 1 + int(command[at])
    return calls
