"""rdb_forms: values in the forms of RDB that redis-server 7.0 does not write itself: those of older and of newer versions."""

import struct

_POLY = 0x95AC9329AC4BC9B5


def _table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ _POLY if crc & 1 else crc >> 1
        table.append(crc)
    return table


_TABLE = _table()


def crc64(data, crc=0):
    """The checksum of RDB files and payloads."""
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def payload(kind, body, version=9):
    """What RESTORE takes."""
    data = bytes([kind]) + body + struct.pack("<H", version)
    return data + struct.pack("<Q", crc64(data))


def length(count):
    """A length, in the shortest form."""
    if count < 64:
        return bytes([count])
    if count < 16384:
        return bytes([0x40 | count >> 8, count & 0xFF])
    return b"\x80" + struct.pack(">I", count) if count < 1 << 32 else b"\x81" + struct.pack(">Q", count)


def text(raw):
    """A string with its length before it."""
    return length(len(raw)) + raw


def _as_number(raw):
    if not 0 < len(raw) < 21 or raw[:1] == b"+":
        return None
    try:
        number = int(raw)
    except ValueError:
        return None
    return number if b"%d" % number == raw and -1 << 63 <= number < 1 << 63 else None


def _little(number, size):
    return number.to_bytes(size, "little", signed=True)


def _ziplist_item(raw):
    number = _as_number(raw)
    if number is None:
        if len(raw) < 64:
            return bytes([len(raw)]) + raw
        if len(raw) < 16384:
            return bytes([0x40 | len(raw) >> 8, len(raw) & 0xFF]) + raw
        return b"\x80" + struct.pack(">I", len(raw)) + raw
    if 0 <= number <= 12:
        return bytes([0xF1 + number])
    for code, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
        if -1 << (8 * size - 1) <= number < 1 << (8 * size - 1):
            return bytes([code]) + _little(number, size)
    raise AssertionError(number)


def ziplist(items):
    """Redis 6's packed lists, hashes and sorted sets."""
    body, before, tail = b"", 0, 10
    for raw in items:
        item = (bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)) + _ziplist_item(raw)
        tail = 10 + len(body)
        body += item
        before = len(item)
    return struct.pack("<IIH", 11 + len(body), tail, min(len(items), 65535)) + body + b"\xff"


def zipmap(pairs):
    """Redis 2.4's packed hashes."""
    out = bytes([min(len(pairs), 254)])
    for number, (field, value) in enumerate(pairs):
        unused = number % 3
        for raw, is_value in ((field, False), (value, True)):
            out += bytes([len(raw)]) if len(raw) < 254 else b"\xfe" + struct.pack("<I", len(raw))
            out += bytes([unused]) + raw + b"?" * unused if is_value else raw
    return out + b"\xff"


def _listpack_item(raw):
    number = raw if isinstance(raw, int) else _as_number(raw)
    if number is None:
        if len(raw) < 64:
            return bytes([0x80 | len(raw)]) + raw
        if len(raw) < 4096:
            return bytes([0xE0 | len(raw) >> 8, len(raw) & 0xFF]) + raw
        return b"\xf0" + struct.pack("<I", len(raw)) + raw
    if 0 <= number < 128:
        return bytes([number])
    if -4096 <= number < 4096:
        return bytes([0xC0 | number >> 8 & 0x1F, number & 0xFF])
    for code, size in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
        if -1 << (8 * size - 1) <= number < 1 << (8 * size - 1):
            return bytes([code]) + _little(number, size)
    raise AssertionError(number)


def _backlength(size):
    if size <= 127:
        return bytes([size])
    out = [size & 0x7F | 0x80]
    size >>= 7
    while size > 127:
        out.insert(0, size & 0x7F | 0x80)
        size >>= 7
    return bytes([size] + out)


def listpack(items):
    """Redis 7's packed collections."""
    body = b"".join(item + _backlength(len(item)) for item in map(_listpack_item, items))
    return struct.pack("<IH", 7 + len(body), min(len(items), 65535)) + body + b"\xff"


def intset(numbers):
    """A set of integers."""
    size = next(s for s in (2, 4, 8) if all(-1 << (8 * s - 1) <= n < 1 << (8 * s - 1) for n in numbers))
    return struct.pack("<II", size, len(numbers)) + b"".join(_little(n, size) for n in sorted(numbers))


def old_score(score):
    """A score as Redis 3 wrote it."""
    if score in (float("inf"), float("-inf")):
        return b"\xfe" if score > 0 else b"\xff"
    raw = b"%.17g" % score
    return bytes([len(raw)]) + raw


def raw_id(entry_id):
    """The id of a stream's entry where it is a key."""
    return struct.pack(">QQ", *entry_id)


def stream_node(entries):
    """Key and listpack of a stream's node; entries are (id, fields and values in turn, is deleted)."""
    first, fields = entries[0][0], entries[0][1][::2]
    deleted = sum(1 for entry in entries if entry[2])
    items = [len(entries) - deleted, deleted, len(fields), *fields, 0]
    for (ms, seq), parts, is_deleted in entries:
        same = parts[::2] == fields
        entry = [same * 2 + is_deleted, ms - first[0], seq - first[1]]
        entry += parts[1::2] if same else [len(parts) // 2, *parts]
        items += [*entry, len(entry)]
    return text(raw_id(first)) + text(listpack(items))
