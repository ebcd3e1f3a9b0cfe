#include <math.h>
#include <stddef.h>

#ifndef SHAPES_LIMIT
#define SHAPES_LIMIT 100
#endif

/* All points at one distance from a centre. */
typedef struct circle {
    double radius;
} circle;

/* The surface that the circle encloses; NaN for a radius below zero. */
double circle_area(const circle *c)
{
    if (c->radius < 0) {
        return NAN;
    }
    return M_PI * c->radius * c->radius;
}

static int compare(const void *left, const void *right)
{
    double difference = ((const circle *)left)->radius - ((const circle *)right)->radius;
    return (difference > 0) - (difference < 0);
}
