<?php

declare(strict_types=1);

namespace Example\Shapes;

/** All points at one distance from a centre. */
final class Circle
{
    public function __construct(private float $radius)
    {
        if ($radius < 0) {
            throw new \InvalidArgumentException('the radius must not be below zero');
        }
    }

    /** The surface that the circle encloses. */
    #[Pure]
    public function area(): float
    {
        return M_PI * $this->radius ** 2;
    }
}

function largest(Circle ...$circles): Circle
{
    usort($circles, fn (Circle $a, Circle $b) => $b->area() <=> $a->area());
    return $circles[0];
}
