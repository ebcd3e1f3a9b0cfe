using System;

namespace Example.Shapes
{
    /// <summary>All points at one distance from a centre.</summary>
    public sealed class Circle
    {
        public double Radius { get; }

        public Circle(double radius)
        {
            if (radius < 0)
            {
                throw new ArgumentOutOfRangeException(nameof(radius), "must not be below zero");
            }
            Radius = radius;
        }

        /// <summary>The surface that the circle encloses.</summary>
        [Pure]
        public double Area()
        {
            return Math.PI * Radius * Radius;
        }
    }
}
