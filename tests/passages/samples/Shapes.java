package org.example.shapes;

import java.util.List;
import java.util.Optional;

/**
 * A figure in the plane, with a surface.
 */
public interface Shape {
    double area();
}

/** All points at one distance from a centre. */
final class Circle implements Shape {
    private final double radius;

    Circle(double radius) {
        if (radius < 0) {
            throw new IllegalArgumentException("the radius is " + radius + "; it must not be below zero");
        }
        this.radius = radius;
    }

    @Override
    public double area() {
        return Math.PI * radius * radius;
    }

    /** The circle with the largest surface, if there is any circle. */
    static Optional<Circle> largest(List<Circle> circles) {
        return circles.stream()
            .filter(circle -> circle.radius > 0)
            .max((left, right) -> Double.compare(left.area(), right.area()));
    }
}
