/* Places as scores: and the ranges of scores in which a shape's places are. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "data/data_geohash.h"

static double random_in(double low, double high)
{
    return low + (high - low) * (rand() / (double)RAND_MAX);
}

static struct geo_place random_place(void)
{
    return (struct geo_place){random_in(-180, 180), random_in(-GEO_LAT_MAX, GEO_LAT_MAX)};
}

Test(data_geohash, a_place_comes_back_within_a_metre)
{
    srand(1);
    for (int i = 0; i < 20000; i++) {
        struct geo_place place = random_place();
        cr_assert(geo_distance(place, geo_decode(geo_encode(place))) < 1);
    }
}

Test(data_geohash, palermo_and_catania_are_where_everybody_knows)
{
    struct geo_place palermo = {13.361389, 38.115556};
    struct geo_place catania = {15.087269, 37.502669};
    char text[GEO_TEXT_BYTES];
    cr_assert_eq(geo_encode(palermo), 3479099956230698);
    cr_assert_eq(geo_encode(catania), 3479447370796909);
    geo_text(geo_decode(geo_encode(palermo)), text);
    cr_assert_arr_eq(text, "sqc8b49rny0", sizeof text);
    cr_assert(fabs(geo_distance(palermo, catania) - 166274.15) < 1);
}

/* Is each place that the shape has in one of the ranges? */
static void cover_holds(const struct geo_shape *shape, struct geo_place place)
{
    struct geo_range ranges[GEO_RANGES_MAX];
    double distance;
    uint64_t score = geo_encode(place);
    if (!geo_contains(shape, geo_decode(score), &distance)) { return; }
    uint32_t count = geo_cover(shape, ranges);
    bool is_in = false;
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(ranges[i].first < ranges[i].end);
        cr_assert(i == 0 || ranges[i].first > ranges[i - 1].end);
        is_in = is_in || (score >= ranges[i].first && score < ranges[i].end);
    }
    cr_assert(is_in, "%f,%f in %s of %f x %f round %f,%f", place.lon, place.lat,
              shape->is_box ? "box" : "circle", shape->is_box ? shape->width : shape->radius,
              shape->height, shape->centre.lon, shape->centre.lat);
}

Test(data_geohash, the_ranges_of_a_shape_hold_all_its_places)
{
    srand(2);
    for (int i = 0; i < 60000; i++) {
        struct geo_shape shape = {.centre = random_place(), .is_box = rand() % 2 == 0};
        if (rand() % 4 == 0) { shape.centre.lon = rand() % 2 == 0 ? 179.999 : -180; }
        if (rand() % 4 == 0) { shape.centre.lat = rand() % 2 == 0 ? GEO_LAT_MAX : -85; }
        shape.radius = pow(10, random_in(0, 7.5));
        shape.width = pow(10, random_in(0, 7.5));
        shape.height = pow(10, random_in(0, 7.5));
        double reach = fmin(170, (shape.is_box ? shape.width : shape.radius) / 50000);
        struct geo_place place = {shape.centre.lon + random_in(-reach, reach),
                                  shape.centre.lat + random_in(-reach, reach) / 2};
        if (place.lon > 180) { place.lon -= 360; }
        if (place.lon < -180) { place.lon += 360; }
        place.lat = fmax(-GEO_LAT_MAX, fmin(GEO_LAT_MAX, place.lat));
        cover_holds(&shape, place);
        cover_holds(&shape, random_place());
    }
}

Test(data_geohash, a_small_shape_needs_few_and_small_ranges)
{
    struct geo_shape shape = {.centre = {13.4, 52.5}, .radius = 1000};
    struct geo_range ranges[GEO_RANGES_MAX];
    uint32_t count = geo_cover(&shape, ranges);
    uint64_t scores = 0;
    for (uint32_t i = 0; i < count; i++) {
        scores += ranges[i].end - ranges[i].first;
    }
    cr_assert(count <= 16);
    cr_assert(scores < 1ULL << 34, "%lu", scores); /* of 2^52 */
}
