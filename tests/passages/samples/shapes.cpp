#include <cmath>
#include <stdexcept>

namespace shapes {

// A figure in the plane, with a surface.
class Shape {
public:
    virtual ~Shape() = default;
    virtual double area() const = 0;
};

// All points at one distance from a centre.
class Circle : public Shape {
public:
    explicit Circle(double radius) : radius_(radius) {
        if (radius < 0) {
            throw std::invalid_argument("the radius must not be below zero");
        }
    }

    double area() const override { return M_PI * radius_ * radius_; }

private:
    double radius_;
};

template <typename T>
T largest(const T& left, const T& right) {
    return left.area() > right.area() ? left : right;
}

}  // namespace shapes
