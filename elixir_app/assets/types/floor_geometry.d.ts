/**
 * All that blocks the way: sides of rooms without the doors, and free-standing walls.
 *
 * @param {Plan} plan
 * @returns {Segment[]}
 */
export function segmentsOf(plan: Plan): Segment[];
/**
 * Where something is, in words. North is up.
 *
 * @param {Point} from
 * @param {Point} to
 */
export function whereabouts(from: Point, to: Point): string;
export function distance([x, y]: Point, [u, v]: Point): number;
export class Floor {
    /** @param {Plan} plan */
    constructor(plan: Plan);
    plan: Plan;
    segments: Segment[];
    columns: number;
    rows: number;
    free: boolean[];
    /** Whether one can stand there. @param {Point} point */
    isFree([x, y]: Point): boolean;
    /**
     * A step, as far as walls let one: along the wall, where straight on isn't possible. Somebody who stands too near a wall, where the server
     * put them, may step away from it.
     *
     * @param {Point} from
     * @param {Point} by
     * @returns {Point}
     */
    slide([x, y]: Point, [dx, dy]: Point): Point;
    /** The room in which a point is. @param {Point} point */
    zone([x, y]: Point): string | null;
    /**
     * Whether a wall stands between two places, and no open door of the plan leads from the room of one into that of the other.
     *
     * @param {Point} a
     * @param {Point} b
     */
    isBehindWall(a: Point, b: Point): boolean;
    /** The megaphone spot on which a point is. @param {Point} point */
    megaphone(point: Point): {
        name: string;
        x: number;
        y: number;
        radius: number;
    } | null;
    /**
     * The shortest way around the walls, in steps of the grid; empty where there is none.
     *
     * @param {Point} from
     * @param {Point} to
     * @returns {Point[]}
     */
    path(from: Point, to: Point): Point[];
    #private;
}
/**
 * The geometry of a floor plan (`Roomtone.FloorPlan`), as a page needs it: where one can walk. The server checks each step again.
 */
export type Point = [x: number, y: number];
/**
 * The geometry of a floor plan (`Roomtone.FloorPlan`), as a page needs it: where one can walk. The server checks each step again.
 */
export type Segment = [x1: number, y1: number, x2: number, y2: number];
/**
 * The geometry of a floor plan (`Roomtone.FloorPlan`), as a page needs it: where one can walk. The server checks each step again.
 */
export type Plan = {
    title: string;
    width: number;
    height: number;
    /**
     * metres a second
     */
    speed: number;
    rooms: {
        name: string;
        x: number;
        y: number;
        width: number;
        height: number;
    }[];
    doors: {
        from: string;
        into: string | null;
        x: number;
        y: number;
        width: number;
        gain: number;
    }[];
    walls: {
        x1: number;
        y1: number;
        x2: number;
        y2: number;
    }[];
    megaphones: {
        name: string;
        x: number;
        y: number;
        radius: number;
    }[];
};
