/* data_geohash: places on the globe as the scores of sorted sets, in Redis's form: 26 bits of latitude and 26 of longitude by
 * turns, so that what is near stands mostly together. Inside this module. */
#ifndef FANFARE_DATA_DATA_GEOHASH_H
#define FANFARE_DATA_DATA_GEOHASH_H

#include <stdbool.h>
#include <stdint.h>

#define GEO_LON_MAX 180.0
#define GEO_LAT_MAX 85.05112878 /* where Mercator's map is a square */

struct geo_place {
    double lon;
    double lat;
};

/* Is there such a place on the map? */
bool geo_is_place(struct geo_place place);

uint64_t geo_encode(struct geo_place place);
/* A member's score as one; also if it was put there by ZADD and is none. */
uint64_t geo_score_bits(double score);
/* The middle of the score's cell. */
struct geo_place geo_decode(uint64_t score);
/* The place in the widely known geohash's letters. `out` has GEO_TEXT_BYTES. */
enum { GEO_TEXT_BYTES = 11 };
void geo_text(struct geo_place place, char *out);

/* In metres, over a globe. */
double geo_distance(struct geo_place a, struct geo_place b);

/* What is looked for: all within a radius, or within a box whose sides lie along the meridians; in metres. */
struct geo_shape {
    struct geo_place centre;
    bool is_box;
    double radius;
    double width;
    double height;
};
/* Is the place in it? *distance is from its centre. */
bool geo_contains(const struct geo_shape *shape, struct geo_place place, double *distance);

/* Ranges of scores, [first, end), in their order and apart, that hold all places of the shape, and others. Gives: how many. */
enum { GEO_RANGES_MAX = 32 };
struct geo_range {
    uint64_t first;
    uint64_t end;
};
uint32_t geo_cover(const struct geo_shape *shape, struct geo_range out[GEO_RANGES_MAX]);

#endif
