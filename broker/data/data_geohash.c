/* data_geohash: places as scores. */
#include "data/data_geohash.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"

enum {
    STEP_MAX = 26, /* bits of each coordinate */
    CELLS_MAX = 4, /* of the cover, each way */
};

#define EARTH_RADIUS 6372797.560856 /* metres; Redis's */

bool geo_is_place(struct geo_place place)
{
    return place.lon >= -GEO_LON_MAX && place.lon <= GEO_LON_MAX && place.lat >= -GEO_LAT_MAX &&
           place.lat <= GEO_LAT_MAX;
}

/* ---- bits ---- */

/* Put a zero behind each bit. */
static uint64_t spread(uint32_t v)
{
    uint64_t x = v;
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x << 2) & 0x3333333333333333;
    return (x | x << 1) & 0x5555555555555555;
}

static uint32_t gather(uint64_t x)
{
    x &= 0x5555555555555555;
    x = (x | x >> 1) & 0x3333333333333333;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x >> 4) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return (uint32_t)(x | x >> 16);
}

/* The cell of a coordinate between -max and max, of 2^step. The last one's upper edge has a number of its own. */
static uint32_t cell_of(double v, double max, int step)
{
    return (uint32_t)((v + max) / (max - -max) * (double)(1ULL << step));
}

static uint64_t interleave(struct geo_place place, double lat_max)
{
    return spread(cell_of(place.lat, lat_max, STEP_MAX)) |
           spread(cell_of(place.lon, GEO_LON_MAX, STEP_MAX)) << 1;
}

uint64_t geo_encode(struct geo_place place)
{
    return interleave(place, GEO_LAT_MAX);
}

uint64_t geo_score_bits(double score)
{
    const double limit = 0x1p63;
    return score >= -limit && score < limit ? (uint64_t)(int64_t)score : 0;
}

/* The middle of a cell. */
static double middle(uint32_t cell, double max)
{
    const double cells = (double)(1ULL << STEP_MAX);
    double low = -max + (cell * 1.0 / cells) * (max - -max);
    double high = -max + ((cell + 1) * 1.0 / cells) * (max - -max);
    double v = (low + high) / 2;
    return v > max ? max : v < -max ? -max : v;
}

struct geo_place geo_decode(uint64_t score)
{
    return (struct geo_place){middle(gather(score >> 1), GEO_LON_MAX),
                              middle(gather(score), GEO_LAT_MAX)};
}

void geo_text(struct geo_place place, char *out)
{
    static const char letters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    uint64_t bits = interleave(place, 90);
    for (int i = 0; i < GEO_TEXT_BYTES; i++) {
        int shift = 2 * STEP_MAX -
                    5 * (i + 1); /* of the last letter only two bits are known: it says none */
        out[i] = letters[shift >= 0 ? bits >> shift & 31 : 0];
    }
}

/* ---- distances ---- */

static double radians(double degrees)
{
    return degrees * (M_PI / 180.0);
}

static double degrees(double v)
{
    return v / (M_PI / 180.0);
}

static double lat_distance(double a, double b)
{
    return EARTH_RADIUS * fabs(radians(b) - radians(a));
}

/* By the haversine formula. */
double geo_distance(struct geo_place a, struct geo_place b)
{
    double v = sin((radians(b.lon) - radians(a.lon)) / 2);
    if (v == 0.0) { return lat_distance(a.lat, b.lat); }
    double a_lat = radians(a.lat);
    double b_lat = radians(b.lat);
    double u = sin((b_lat - a_lat) / 2);
    return 2.0 * EARTH_RADIUS * asin(sqrt(u * u + cos(a_lat) * cos(b_lat) * v * v));
}

bool geo_contains(const struct geo_shape *shape, struct geo_place place, double *distance)
{
    if (!shape->is_box) {
        *distance = geo_distance(shape->centre, place);
        return *distance <= shape->radius;
    }
    if (lat_distance(place.lat, shape->centre.lat) > shape->height / 2) { return false; }
    const struct geo_place beside = {shape->centre.lon, place.lat};
    if (geo_distance(place, beside) > shape->width / 2) { return false; }
    *distance = geo_distance(shape->centre, place);
    return true;
}

/* ---- the cover ---- */

/* How far the shape reaches in degrees: a little more rather than less. */
struct reach {
    double lat;
    double lon;
};

static struct reach reach_of(const struct geo_shape *shape)
{
    const double more = 1e-9;
    double up = (shape->is_box ? shape->height / 2 : shape->radius) / EARTH_RADIUS;
    double lat = radians(fabs(shape->centre.lat));
    double ratio; /* of the reach to the east, as a sine */
    double share = 1;
    if (shape->is_box) { /* measured along the parallel of each place: widest nearest to the pole */
        double top = fmin(lat + up, radians(GEO_LAT_MAX));
        double half = shape->width / 4 / EARTH_RADIUS;
        ratio = half >= M_PI / 2 ? 1 : sin(half) / cos(top);
        share = 2;
    } else {
        ratio = lat + up >= M_PI / 2 ? 1 : sin(up) / cos(lat);
    }
    double lon = ratio >= 1 ? 180 : degrees(share * asin(ratio)) + more;
    return (struct reach){degrees(up) + more, lon > 180 ? 180 : lon};
}

/* A span of a coordinate, and the cells that it touches. */
struct span {
    double low;
    double high;
};

static uint32_t cells_in(struct span span, double max, int step)
{
    return cell_of(span.high, max, step) - cell_of(span.low, max, step) + 1;
}

static int by_first(const void *a, const void *b)
{
    uint64_t one = ((const struct geo_range *)a)->first;
    uint64_t other = ((const struct geo_range *)b)->first;
    return (one > other) - (one < other);
}

/* Sort, and make one of those that touch. */
static uint32_t ranges_join(struct geo_range *ranges, uint32_t count)
{
    qsort(ranges, count, sizeof *ranges, by_first);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < count; i++) {
        if (ranges[i].first <= ranges[kept].end) {
            if (ranges[i].end > ranges[kept].end) { ranges[kept].end = ranges[i].end; }
        } else {
            ranges[++kept] = ranges[i];
        }
    }
    return kept + 1;
}

uint32_t geo_cover(const struct geo_shape *shape, struct geo_range out[GEO_RANGES_MAX])
{
    struct reach reach = reach_of(shape);
    struct span lat = {fmax(shape->centre.lat - reach.lat, -GEO_LAT_MAX),
                       fmin(shape->centre.lat + reach.lat, GEO_LAT_MAX)};
    struct span lon[2] = {{shape->centre.lon - reach.lon, shape->centre.lon + reach.lon}};
    uint32_t lons = 1;
    if (reach.lon >= 180) {
        lon[0] = (struct span){-GEO_LON_MAX, GEO_LON_MAX};
    } else if (lon[0].low <= -GEO_LON_MAX) { /* across the date line */
        lon[1] = (struct span){lon[0].low + 360, GEO_LON_MAX};
        lon[0].low = -GEO_LON_MAX;
        lons = 2;
    } else if (lon[0].high >= GEO_LON_MAX) {
        lon[1] = (struct span){-GEO_LON_MAX, lon[0].high - 360};
        lon[0].high = GEO_LON_MAX;
        lons = 2;
    }
    int step = STEP_MAX;
    while (step > 0 && (cells_in(lat, GEO_LAT_MAX, step) > CELLS_MAX ||
                        cells_in(lon[0], GEO_LON_MAX, step) > CELLS_MAX ||
                        (lons == 2 && cells_in(lon[1], GEO_LON_MAX, step) > CELLS_MAX))) {
        step--;
    }
    uint32_t count = 0;
    int shift = 2 * (STEP_MAX - step);
    for (uint32_t l = 0; l < lons; l++) {
        for (uint32_t x = cell_of(lon[l].low, GEO_LON_MAX, step);
             x <= cell_of(lon[l].high, GEO_LON_MAX, step); x++) {
            for (uint32_t y = cell_of(lat.low, GEO_LAT_MAX, step);
                 y <= cell_of(lat.high, GEO_LAT_MAX, step); y++) {
                CHECK(count < GEO_RANGES_MAX);
                uint64_t bits = spread(y) | spread(x) << 1;
                out[count++] = (struct geo_range){bits << shift, (bits + 1) << shift};
            }
        }
    }
    return ranges_join(out, count);
}
