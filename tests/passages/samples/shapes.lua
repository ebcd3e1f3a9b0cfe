-- Plane figures.
local Circle = {}
Circle.__index = Circle

-- A circle with the given radius.
function Circle.new(radius)
  if radius < 0 then
    error("the radius is " .. radius .. "; it must not be below zero")
  end
  return setmetatable({ radius = radius }, Circle)
end

-- The surface that the circle encloses.
function Circle:area()
  return math.pi * self.radius ^ 2
end

local function largest(circles)
  table.sort(circles, function(left, right)
    return left.radius > right.radius
  end)
  return circles[1]
end

return { Circle = Circle, largest = largest }
