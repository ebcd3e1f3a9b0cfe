'use strict';

const fs = require('node:fs');

/** All points at one distance from a centre. */
class Circle {
  constructor(radius) {
    this.radius = radius;
  }

  area() {
    return Math.PI * this.radius ** 2;
  }
}

/**
 * The circle with the largest radius.
 */
const largest = (circles) => {
  let best = circles[0];
  for (const circle of circles) {
    if (circle.radius > best.radius) {
      best = circle;
    }
  }
  return best;
};

exports.load = function (path) {
  return JSON.parse(fs.readFileSync(path, 'utf8')).map((radius) => new Circle(radius));
};
