package org.example.shapes

import kotlin.math.PI

/** A figure in the plane, with a surface. */
interface Shape {
    val area: Double
}

/** All points at one distance from a centre. */
data class Circle(val radius: Double) : Shape {
    init {
        require(radius >= 0) { "the radius is $radius; it must not be below zero" }
    }

    override val area: Double
        get() = PI * radius * radius

    /** The circle with a radius that is larger by the factor. */
    fun scaled(factor: Double): Circle = Circle(radius * factor)
}

fun largest(circles: List<Circle>): Circle? {
    return circles.maxByOrNull { circle -> circle.area }
}
