import Foundation

/// A figure in the plane, with a surface.
protocol Shape {
    var area: Double { get }
}

/// All points at one distance from a centre.
struct Circle: Shape {
    let radius: Double

    init(radius: Double) throws {
        guard radius >= 0 else {
            throw ShapeError.negative(radius)
        }
        self.radius = radius
    }

    /// The surface that the circle encloses.
    var area: Double {
        Double.pi * radius * radius
    }
}

func largest(_ circles: [Circle]) -> Circle? {
    return circles.max { left, right in left.area < right.area }
}
