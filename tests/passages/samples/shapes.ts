import { readFile } from "node:fs/promises";

export interface Shape {
  readonly area: number;
}

/** Marks a class as one that the registry lists. */
export const registered = (name: string) => (target: Function) => {
  registry.set(name, target);
  return target;
};

@registered("circle")
export class Circle implements Shape {
  constructor(private readonly radius: number) {
    if (radius < 0) {
      throw new RangeError(`the radius is ${radius}; it must not be below zero`);
    }
  }

  get area(): number {
    return Math.PI * this.radius ** 2;
  }

  // The circle with a radius that is larger by the factor.
  scaled(factor: number): Circle {
    return new Circle(this.radius * factor);
  }
}

export async function load(path: string): Promise<Circle[]> {
  const rows: number[] = JSON.parse(await readFile(path, "utf8"));
  return rows.map((radius) => new Circle(radius));
}
