import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { distance, Floor, whereabouts } from "../js/floor_geometry.js";

const plans = ["office", "plaza"].map((name) => JSON.parse(readFileSync(new URL(`../../../priv/floor_plans/${name}.json`, import.meta.url), "utf8")));

/** Whether a straight line crosses a wall. */
function crosses([x, y], [u, v], [x1, y1, x2, y2]) {
  const side = (ax, ay, bx, by, px, py) => (bx - ax) * (py - ay) - (by - ay) * (px - ax);
  return side(x1, y1, x2, y2, x, y) * side(x1, y1, x2, y2, u, v) <= 0 && side(x, y, u, v, x1, y1) * side(x, y, u, v, x2, y2) <= 0;
}

for (const plan of plans) {
  test(`in ${plan.title} a way leads into each room and onto each spot, through no wall`, () => {
    const floor = new Floor(plan);
    const start = [plan.start.x, plan.start.y];
    const goals = [...plan.rooms.map(({ x, y, width, height }) => [x + width / 2, y + height / 2]), ...plan.megaphones.map(({ x, y }) => [x, y])];
    for (const goal of goals) {
      const path = floor.path(start, goal);
      assert.ok(path.length > 0, `${goal}`);
      assert.ok(distance(path.at(-1), goal) < 1, `${goal}`);
      let from = start;
      for (const to of path) {
        assert.ok(!floor.segments.some((segment) => crosses(from, to, segment)), `${from} to ${to}`);
        from = to;
      }
    }
  });
}

test("a step along a wall slides, and one into a corner stays", () => {
  const floor = new Floor(plans[0]);
  // The side of the library is at y = 5, from x = 9 to 12.2.
  assert.deepEqual(floor.slide([10, 5.4], [0.2, -0.2]), [10.2, 5.4]);
  assert.deepEqual(floor.slide([0.4, 7.4], [-0.2, -0.2]), [0.4, 7.4]);
  // Somebody who was put too near to a wall gets away from it.
  assert.deepEqual(floor.slide([10, 5.1], [0, 0.2]), [10, 5.3]);
  assert.deepEqual(floor.slide([10, 5.1], [0, -0.2]), [10, 5.1]);
});

test("a place is behind a wall where no open door leads from its room into the other", () => {
  const office = plans[0];
  const floor = new Floor(office);
  assert.ok(!floor.isBehindWall([15, 10], [15, 18.9]));
  // The meeting room has a door to the middle, and none to the library beside it.
  assert.ok(!floor.isBehindWall([6, 6], [6, 8]) && !floor.isBehindWall([6, 8], [6, 6]));
  assert.ok(floor.isBehindWall([8, 3], [10, 3]) && floor.isBehindWall([10, 3], [8, 3]));
  // A door that lets nothing through isn't a wall.
  const [door] = office.doors;
  const closed = new Floor({ ...office, doors: office.doors.map((door) => ({ ...door, gain: 0 })) });
  const [a, b] = /** @type {[number, number][][]} */ ([[[door.x, door.y - 0.5], [door.x, door.y + 0.5]]])[0];
  assert.ok(closed.zone(a) !== closed.zone(b) && !closed.isBehindWall(a, b));
});

test("whereabouts in words", () => {
  assert.equal(whereabouts([5, 5], [5.2, 5]), "right beside you");
  assert.equal(whereabouts([5, 5], [5, 1]), "4 m north");
  assert.equal(whereabouts([5, 5], [2, 8]), "4 m south-west");
  assert.equal(whereabouts([5, 5], [1, 5]), "4 m west");
});
