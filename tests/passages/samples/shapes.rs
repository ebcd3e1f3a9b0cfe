//! Plane figures.

use std::f64::consts::PI;

/// All points at one distance from a centre.
#[derive(Debug, Clone, PartialEq)]
pub struct Circle {
    pub radius: f64,
}

impl Circle {
    /// The surface that the circle encloses.
    #[must_use]
    pub fn area(&self) -> f64 {
        PI * self.radius * self.radius
    }

    /// A circle whose radius is larger by a factor, and whose centre
    /// remains where it is.
    pub fn scaled(&self, factor: f64) -> Circle {
        Circle { radius: self.radius * factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_grows_with_the_square_of_its_radius() {
        let small = Circle { radius: 1.0 };
        let large = small.scaled(2.0);
        assert_eq!(large.area(), 4.0 * small.area());
    }
}
