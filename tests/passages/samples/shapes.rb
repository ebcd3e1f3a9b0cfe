require 'json'

# Plane figures.
module Shapes
  # All points at one distance from a centre.
  class Circle
    attr_reader :radius

    def initialize(radius)
      raise ArgumentError, "the radius is #{radius}; it must not be below zero" if radius.negative?

      @radius = radius
    end

    # The surface that the circle encloses.
    def area
      Math::PI * radius**2
    end

    def self.load(path)
      JSON.parse(File.read(path)).map { |radius| new(radius) }
    end
  end
end
