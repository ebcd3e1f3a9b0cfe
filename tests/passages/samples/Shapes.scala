package org.example.shapes

import scala.math.Pi

/** A figure in the plane, with a surface. */
trait Shape {
  def area: Double
}

/** All points at one distance from a centre. */
final case class Circle(radius: Double) extends Shape {
  require(radius >= 0, s"the radius is $radius; it must not be below zero")

  override def area: Double = Pi * radius * radius

  /** The circle with a radius that is larger by the factor. */
  def scaled(factor: Double): Circle = {
    copy(radius = radius * factor)
  }
}

object Circle {
  def largest(circles: Seq[Circle]): Option[Circle] = {
    circles.sortBy(_.area).lastOption
  }
}
