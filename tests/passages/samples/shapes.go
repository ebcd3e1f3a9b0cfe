// Package shapes measures plane figures.
package shapes

import (
	"errors"
	"math"
)

// ErrNegative reports a length below zero.
var ErrNegative = errors.New("a length is below zero")

// Circle is all points at one distance from a centre.
type Circle struct {
	Radius float64
}

// Area returns the surface that the circle encloses.
// It fails for a radius below zero.
func (c Circle) Area() (float64, error) {
	if c.Radius < 0 {
		return 0, ErrNegative
	}
	return math.Pi * c.Radius * c.Radius, nil
}

func largest(circles []Circle) (best Circle) {
	for _, circle := range circles {
		if circle.Radius > best.Radius {
			best = circle
		}
	}
	return best
}
